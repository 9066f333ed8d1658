//! The fixed words of messages, English and Japanese, and how numbers are written in them.

use crate::telling::Language;

/// A word in both languages.
pub(crate) type Word = [&'static str; 2];

pub(crate) const OWNER: Word = ["Owner", "担当"];
pub(crate) const TIER: Word = ["Tier", "対応区分"];
pub(crate) const STAGE: Word = ["Stage", "段階"];
pub(crate) const PLAN: Word = ["Plan", "プラン"];
pub(crate) const SEGMENT: Word = ["Segment", "セグメント"];
pub(crate) const WHY: Word = ["Why", "理由"];
pub(crate) const DRIVERS: Word = ["Strongest drivers", "主な要因"];
pub(crate) const HEALTH: Word = ["Health", "健全度"];
pub(crate) const CHURN_RISK: Word = ["Churn risk, 30 days", "30日以内の解約確率"];
pub(crate) const MRR: Word = ["Monthly value", "月額"];
pub(crate) const RENEWAL: Word = ["Days to renewal", "更新までの日数"];
pub(crate) const RULE: Word = ["Rule", "ルール"];
pub(crate) const SEVERITY: Word = ["Severity", "重要度"];
pub(crate) const OPEN_ACCOUNT: Word = ["Open the account", "アカウントを開く"];
pub(crate) const OPEN_PAGE: Word = ["Open mimamori", "mimamoriを開く"];
pub(crate) const UNKNOWN: Word = ["unknown", "不明"];
pub(crate) const NOBODY: Word = ["nobody", "担当なし"];
pub(crate) const DIGEST: Word = ["Digest", "まとめ"];
pub(crate) const HELD: Word = ["Alerts held back", "アラートを保留中"];
pub(crate) const RELEASE: Word = ["To release them", "通知を再開するには"];
pub(crate) const DROP: Word = ["To drop them", "破棄するには"];
pub(crate) const TEST: Word = ["Test", "テスト"];

/// What a change of an episode is called, of a risk or of an opportunity.
pub(crate) fn change(change: &str, is_opportunity: bool) -> Word {
    match change {
        "opened" if is_opportunity => ["Opportunity", "好機"],
        "opened" => ["At risk", "要注意"],
        "escalated" => ["Worse", "悪化"],
        "acknowledged" => ["Being looked after", "対応中"],
        "resolved" => ["Resolved", "解消"],
        "retracted" => ["Retracted", "取り消し"],
        _ => ["Changed", "変化"],
    }
}

/// What a severity is called.
pub(crate) fn severity(severity: &str) -> Word {
    match severity {
        "critical" => ["critical", "緊急"],
        "warning" => ["warning", "警告"],
        "info" => ["info", "情報"],
        _ => UNKNOWN,
    }
}

/// How many there are beyond those that are listed.
pub(crate) fn and_more(language: Language, more: u64) -> String {
    language.line(&format!("and {more} more"), &format!("ほか{more}件"))
}

impl Language {
    /// A word of the table.
    pub(crate) fn word(self, [en, ja]: Word) -> String {
        self.line(en, ja)
    }
}

/// A share as a percentage without decimals.
pub(crate) fn percent(share: f64) -> String {
    format!("{}%", grouped(share * 100.0))
}

/// A number as people read it by its name: shares of certainty as percentages, money, days and whole
/// numbers without decimals, others with one.
pub(crate) fn number(name: &str, value: f64) -> String {
    match name {
        "churn_risk" | "confidence" => percent(value),
        "mrr" => grouped(value),
        _ if name.contains("days") || value.fract() == 0.0 => grouped(value),
        _ => format!("{value:.1}"),
    }
}

/// Rounded, thousands apart.
fn grouped(value: f64) -> String {
    // Adding 0 takes the sign from a negative 0.
    let digits = format!("{:.0}", (value.round() + 0.0).abs());
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    if value.round() < 0.0 {
        text.push('-');
    }
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An amount with its currency.
pub(crate) fn money(amount: f64, currency: Option<&str>) -> String {
    let amount = grouped(amount);
    match currency {
        Some("JPY") => format!("¥{amount}"),
        Some("USD") => format!("${amount}"),
        Some("EUR") => format!("€{amount}"),
        Some(currency) => format!("{amount} {currency}"),
        None => amount,
    }
}

/// The beginning of a text, of at most `limit` characters, the last of which says that there was more.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_string(),
        Some(_) => text.chars().take(limit.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// One line without control characters: what goes into a heading, a header or a field.
pub(crate) fn one_line(text: &str) -> String {
    let spaced: String = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(percent(0.214), "21%");
        assert_eq!(number("churn_risk", 0.005), "1%");
        assert_eq!(number("mrr", 1_234_567.4), "1,234,567");
        assert_eq!(number("days_to_renewal", 165.6), "166");
        assert_eq!(number("usage_z", -0.21), "-0.2");
        assert_eq!(number("days_to_renewal", -0.2), "0");
        assert_eq!(money(74_400.0, Some("JPY")), "¥74,400");
        assert_eq!(money(-999.0, Some("CHF")), "-999 CHF");
        assert_eq!(money(1_000.0, None), "1,000");
    }

    #[test]
    fn texts_are_cut_where_a_letter_ends() {
        assert_eq!(cut("見守り", 3), "見守り");
        assert_eq!(cut("見守り隊", 3), "見守…");
        assert_eq!(one_line(" a\r\nBcc: x\t\u{0}b "), "a Bcc: x b");
    }
}
