//! Changes of protobuf messages that keep their lengths right, so that what is changed is read.

use fastrand::Rng;

/// Messages within messages that are looked into.
const DEEPEST: usize = 6;

#[derive(Clone)]
enum Value {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(Vec<u8>),
    Message(Vec<Field>),
}

#[derive(Clone)]
struct Field {
    key: u64,
    value: Value,
}

/// Changes a field somewhere in the message; false when the bytes are none.
pub(crate) fn change(input: &mut Vec<u8>, random: &mut Rng) -> bool {
    let Some(mut fields) = read(input, 0) else {
        return false;
    };
    if fields.is_empty() {
        return false;
    }
    change_one(&mut fields, random);
    input.clear();
    write(&fields, input);
    true
}

fn change_one(fields: &mut Vec<Field>, random: &mut Rng) {
    let at = random.usize(..fields.len());
    if let Value::Message(inner) = &mut fields[at].value
        && !inner.is_empty()
        && random.u8(..8) > 0
    {
        return change_one(inner, random);
    }
    match random.u8(..6) {
        0 => {
            fields.remove(at);
        }
        1 => {
            let copy = fields[at].clone();
            fields.insert(random.usize(..=fields.len()), copy);
        }
        2 => {
            let other = random.usize(..fields.len());
            let value = fields[other].value.clone();
            if std::mem::discriminant(&value) == std::mem::discriminant(&fields[at].value) {
                fields[at].value = value;
            }
        }
        _ => change_value(&mut fields[at].value, random),
    }
}

fn change_value(value: &mut Value, random: &mut Rng) {
    match value {
        Value::Varint(number) => {
            *number = match random.u8(..5) {
                0 => number.wrapping_add(1),
                1 => number.wrapping_sub(1),
                2 => number.wrapping_mul(1 << random.u32(..64)),
                // As a zigzag number the greatest is the smallest.
                3 => u64::MAX - u64::from(random.u8(..2)),
                _ => random.u64(..) >> random.u32(..64),
            }
        }
        Value::Fixed64(bytes) => {
            *bytes = match random.u8(..4) {
                0 => f64::NAN.to_le_bytes(),
                1 => f64::NEG_INFINITY.to_le_bytes(),
                2 => (-f64::from_le_bytes(*bytes)).to_le_bytes(),
                _ => random.u64(..).to_le_bytes(),
            }
        }
        Value::Fixed32(bytes) => *bytes = random.u32(..).to_le_bytes(),
        Value::Bytes(bytes) if bytes.is_empty() => bytes.push(b'x'),
        Value::Bytes(bytes) => {
            let at = random.usize(..bytes.len());
            match random.u8(..4) {
                0 => bytes.truncate(at),
                1 => bytes[at] = random.u8(..),
                2 => bytes[at] ^= 1 << random.u8(..8),
                _ => bytes.insert(at, random.u8(..)),
            }
        }
        Value::Message(fields) => fields.clear(),
    }
}

fn read(mut bytes: &[u8], depth: usize) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        if key >> 3 == 0 || key >> 3 > 1_000 {
            return None;
        }
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut bytes)?),
            1 => Value::Fixed64(*take(&mut bytes, 8)?.first_chunk()?),
            5 => Value::Fixed32(*take(&mut bytes, 4)?.first_chunk()?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let content = take(&mut bytes, length)?;
                // Nothing tells a message from a text; most texts are none.
                match read(content, depth + 1).filter(|inner| !inner.is_empty() && depth < DEEPEST) {
                    Some(inner) => Value::Message(inner),
                    None => Value::Bytes(content.to_vec()),
                }
            }
            _ => return None,
        };
        fields.push(Field { key, value });
    }
    Some(fields)
}

fn write(fields: &[Field], out: &mut Vec<u8>) {
    for field in fields {
        put_varint(field.key, out);
        match &field.value {
            Value::Varint(number) => put_varint(*number, out),
            Value::Fixed64(bytes) => out.extend_from_slice(bytes),
            Value::Fixed32(bytes) => out.extend_from_slice(bytes),
            Value::Bytes(bytes) => put_bytes(bytes, out),
            Value::Message(inner) => {
                let mut bytes = Vec::new();
                write(inner, &mut bytes);
                put_bytes(&bytes, out);
            }
        }
    }
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (front, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(front)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
