//! The arithmetic that expected numbers are written in: `+ - * /`, parentheses, `sqrt(x)`,
//! `logistic(x)` = 1 ÷ (1 + e^−x), and the names of other numbers expected at the same instant.

/// The value of `text`; `of_name` knows the names.
pub fn evaluate(text: &str, of_name: &dyn Fn(&str) -> Result<f64, String>) -> Result<f64, String> {
    let mut reader = Reader { rest: text, of_name };
    let value = reader.sum()?;
    match reader.rest.trim_start() {
        "" => Ok(value),
        rest => Err(format!("{text:?} is not arithmetic from {rest:?} on")),
    }
}

struct Reader<'a> {
    rest: &'a str,
    of_name: &'a dyn Fn(&str) -> Result<f64, String>,
}

impl Reader<'_> {
    fn take(&mut self, sign: char) -> bool {
        let rest = self.rest.trim_start().strip_prefix(sign);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn sum(&mut self) -> Result<f64, String> {
        let mut value = self.product()?;
        loop {
            if self.take('+') {
                value += self.product()?;
            } else if self.take('-') {
                value -= self.product()?;
            } else {
                return Ok(value);
            }
        }
    }

    fn product(&mut self) -> Result<f64, String> {
        let mut value = self.factor()?;
        loop {
            if self.take('*') {
                value *= self.factor()?;
            } else if self.take('/') {
                value /= self.factor()?;
            } else {
                return Ok(value);
            }
        }
    }

    fn factor(&mut self) -> Result<f64, String> {
        if self.take('-') {
            return Ok(-self.factor()?);
        }
        if self.take('(') {
            return self.closed();
        }
        let rest = self.rest.trim_start();
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '.';
        let length = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
        let (word, rest) = rest.split_at(length);
        self.rest = rest;
        if word.starts_with(|letter: char| letter.is_ascii_digit()) {
            return word.parse().map_err(|_| format!("{word:?} is not a number"));
        }
        match word {
            "sqrt" if self.take('(') => Ok(self.closed()?.sqrt()),
            "logistic" if self.take('(') => Ok(1.0 / (1.0 + (-self.closed()?).exp())),
            name => (self.of_name)(name),
        }
    }

    fn closed(&mut self) -> Result<f64, String> {
        let value = self.sum()?;
        match self.take(')') {
            true => Ok(value),
            false => Err(format!("a parenthesis is not closed before {:?}", self.rest)),
        }
    }
}

#[test]
fn arithmetic_is_read_as_people_read_it() {
    let names = |name: &str| match name {
        "ttv" => Ok(100.0),
        other => Err(format!("{other} is not known")),
    };
    let value = |text: &str| evaluate(text, &names);
    assert_eq!(value("1 + 2 * 3 - 4 / 2"), Ok(5.0));
    assert_eq!(value("(1 + 2) * -3"), Ok(-9.0));
    assert_eq!(value("20 / 28 / 2"), Ok(20.0 / 28.0 / 2.0));
    assert_eq!(value("sqrt(16) + logistic(0)"), Ok(4.5));
    assert_eq!(value("0.05 * ttv"), Ok(5.0));
    assert!(value("1 +").is_err() && value("(1").is_err() && value("1 2").is_err() && value("tvt").is_err());
}
