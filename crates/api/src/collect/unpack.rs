//! `Content-Encoding` undone, a little at a time: whoever reads decides after each step whether to go on,
//! so that no body unfolds beyond its bound.

use std::io::{self, Write};

use axum::http::{HeaderMap, header};
use flate2::write::MultiGzDecoder;
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, Operation};

use super::refusal::Refusal;

/// Packed bytes given to gzip in one step; they unfold to a thousand times as many at most.
const GZIP_STEP: usize = 128;
/// Unpacked bytes that zstd gives in one step.
const ZSTD_STEP: usize = 32 * 1024;
/// Windows over 8 MiB are refused, as RFC 8878 lets every decoder do.
const ZSTD_WINDOW_LOG: u32 = 23;

pub(super) enum Unpacker {
    Plain,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Zstd {
        decoder: Box<ZstdDecoder<'static>>,
        /// A frame has begun and not ended.
        is_open: bool,
    },
}

impl Unpacker {
    pub(super) fn of(headers: &HeaderMap) -> Result<Unpacker, Refusal> {
        let encoding = headers.get(header::CONTENT_ENCODING);
        let encoding = encoding.map_or(Ok(""), |value| value.to_str());
        let encoding = encoding.unwrap_or("not text").trim().to_ascii_lowercase();
        match encoding.as_str() {
            "" | "identity" => Ok(Unpacker::Plain),
            "gzip" | "x-gzip" => Ok(Unpacker::Gzip(Box::new(MultiGzDecoder::new(Vec::new())))),
            "zstd" => {
                let mut decoder = ZstdDecoder::new().map_err(|error| Refusal::Packed(error.to_string()))?;
                decoder
                    .set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))
                    .map_err(|error| Refusal::Packed(error.to_string()))?;
                Ok(Unpacker::Zstd {
                    decoder: Box::new(decoder),
                    is_open: true,
                })
            }
            _ => Err(Refusal::Encoding),
        }
    }

    /// Unpacks the beginning of `packed` onto `out`, one step of it, and says whether another step is due
    /// before more of the body is there.
    pub(super) fn step(&mut self, packed: &mut &[u8], out: &mut Vec<u8>) -> Result<bool, Refusal> {
        let before = out.len();
        let taken = self.take(packed, out).map_err(broken)?;
        let grown = out.len() - before;
        if taken == 0 && grown == 0 && !packed.is_empty() {
            return Err(broken(io::ErrorKind::InvalidData.into()));
        }
        *packed = &packed[taken..];
        let holds_back = matches!(self, Unpacker::Zstd { is_open: true, .. }) && grown == ZSTD_STEP;
        Ok(!packed.is_empty() || holds_back)
    }

    fn take(&mut self, packed: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Unpacker::Plain => {
                out.extend_from_slice(packed);
                Ok(packed.len())
            }
            Unpacker::Gzip(decoder) => {
                let taken = decoder.write(&packed[..packed.len().min(GZIP_STEP)])?;
                out.append(decoder.get_mut());
                Ok(taken)
            }
            Unpacker::Zstd { decoder, is_open } => {
                let before = out.len();
                out.resize(before + ZSTD_STEP, 0);
                let status = decoder.run_on_buffers(packed, &mut out[before..]);
                let status = status.inspect_err(|_| out.truncate(before))?;
                out.truncate(before + status.bytes_written);
                *is_open = status.remaining != 0;
                Ok(status.bytes_read)
            }
        }
    }

    /// Unpacks `packed` step by step, showing `out` to `look` after each.
    pub(super) fn unpack(
        &mut self,
        mut packed: &[u8],
        out: &mut Vec<u8>,
        mut look: impl FnMut(&mut Vec<u8>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        while self.step(&mut packed, out)? {
            look(out)?;
        }
        look(out)
    }

    /// What is left, once there is no more to come.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        match self {
            Unpacker::Plain => Ok(()),
            Unpacker::Gzip(decoder) => {
                decoder.try_finish().map_err(broken)?;
                out.append(decoder.get_mut());
                Ok(())
            }
            Unpacker::Zstd { is_open: false, .. } => Ok(()),
            Unpacker::Zstd { .. } => Err(broken(io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

fn broken(error: io::Error) -> Refusal {
    Refusal::Packed(error.to_string())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacker(encoding: &'static str) -> Result<Unpacker, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        Unpacker::of(&headers)
    }

    fn unpacked(encoding: &'static str, packed: &[u8], piece: usize) -> Result<Vec<u8>, Refusal> {
        let mut unpacker = unpacker(encoding)?;
        let mut out = Vec::new();
        for piece in packed.chunks(piece) {
            unpacker.unpack(piece, &mut out, |_| Ok(()))?;
        }
        unpacker.finish(&mut out)?;
        Ok(out)
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_out_however_it_is_cut(
            seed in proptest::collection::vec(any::<u8>(), 0..300),
            times in 1_usize..400,
            piece in 1_usize..5_000,
        ) {
            let bytes = seed.repeat(times);
            prop_assert_eq!(unpacked("identity", &bytes, piece).unwrap(), bytes.clone());
            prop_assert_eq!(unpacked("gzip", &gzip(&bytes), piece).unwrap(), bytes.clone());
            let zstd = zstd::encode_all(&bytes[..], 3).unwrap();
            prop_assert_eq!(unpacked("zstd", &zstd, piece).unwrap(), bytes);
        }

        #[test]
        fn no_bytes_panic_and_what_is_cut_short_is_refused(
            noise in proptest::collection::vec(any::<u8>(), 0..600),
            cut in 1_usize..20,
        ) {
            let _ = unpacked("gzip", &noise, 50);
            let _ = unpacked("zstd", &noise, 50);
            let whole = gzip(&noise);
            prop_assert!(unpacked("gzip", &whole[..whole.len() - cut], 64).is_err());
            let whole = zstd::encode_all(&noise[..], 3).unwrap();
            let cut = cut.min(whole.len());
            prop_assert!(unpacked("zstd", &whole[..whole.len() - cut], 64).is_err());
        }
    }

    #[test]
    fn a_bomb_is_seen_before_it_has_gone_off() {
        let bomb = vec![0_u8; 64 << 20];
        let packed = [
            ("gzip", gzip(&bomb)),
            ("zstd", zstd::encode_all(&bomb[..], 3).unwrap()),
        ];
        for (encoding, packed) in packed {
            let mut out = Vec::new();
            let mut largest = 0;
            let ended = unpacker(encoding).unwrap().unpack(&packed, &mut out, |out| {
                largest = largest.max(out.len());
                if out.len() > 100_000 {
                    Err(Refusal::TooLarge(100_000, "x"))
                } else {
                    Ok(())
                }
            });
            assert!(ended.is_err(), "{encoding}");
            assert!(largest < 400_000, "{encoding}: {largest}");
        }
    }

    #[test]
    fn an_encoding_that_is_not_known_is_refused() {
        assert!(matches!(unpacker("br"), Err(Refusal::Encoding)));
        assert!(matches!(unpacker("gzip, zstd"), Err(Refusal::Encoding)));
    }
}
