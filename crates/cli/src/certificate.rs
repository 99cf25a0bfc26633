//! The content of a certificate: for whom it is, who issued it, and when it is valid. Nothing is
//! verified here. It comes from the network, so that whatever is malformed is left out.

use std::fmt;
use std::time::SystemTime;

/// The parts of a certificate that a person wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    subject: String,
    issuer: String,
    not_before: Moment,
    not_after: Moment,
}

/// A time in a certificate, as its 14 digits from the year to the second. They are ordered as times.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(String);

/// Whether a certificate is valid at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validity {
    NotYet,
    Valid,
    Expired,
}

/// Tags of DER.
const INTEGER: u8 = 0x02;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
/// The attributes of a name that are shown: the common name, else the organisation.
const NAMES: [&[u8]; 2] = [&[0x55, 0x04, 0x03], &[0x55, 0x04, 0x0a]];
/// The longest name that is shown, in characters.
const LONGEST: usize = 80;

impl Certificate {
    /// Reads a certificate in DER (RFC 5280 §4.1).
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let mut whole = Reader(der).inner(SEQUENCE)?;
        let mut fields = whole.inner(SEQUENCE)?;
        if fields.peek() == Some(VERSION) {
            fields.next()?;
        }
        fields.inner(INTEGER)?;
        fields.inner(SEQUENCE)?; // the algorithm of the signature
        let issuer = name(fields.inner(SEQUENCE)?);
        let mut validity = fields.inner(SEQUENCE)?;
        let (not_before, not_after) = (moment(&mut validity)?, moment(&mut validity)?);
        let subject = name(fields.inner(SEQUENCE)?);
        Some(Self { subject, issuer, not_before, not_after })
    }

    /// Returns whether it is valid at a time.
    pub(crate) fn validity(&self, now: SystemTime) -> Validity {
        let now = humantime::format_rfc3339_seconds(now).to_string();
        let now = Moment(now.chars().filter(char::is_ascii_digit).collect());
        match () {
            () if now < self.not_before => Validity::NotYet,
            () if now > self.not_after => Validity::Expired,
            () => Validity::Valid,
        }
    }
}

/// The day, such as 2026-11-27.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", &self.0[..4], &self.0[4..6], &self.0[6..8])
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, issuer, not_before, not_after } = self;
        write!(
            f,
            "the certificate of {subject}, issued by {issuer}, valid {not_before} to {not_after}"
        )
    }
}

/// The rest of some DER.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn peek(self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Takes the next element: its tag and its content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut len = usize::from(first);
        if first >= 0x80 {
            let count = usize::from(first & 0x7f);
            let (digits, after) = rest.split_at_checked(count).filter(|_| count <= 3)?;
            len = digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit));
            rest = after;
        }
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// Takes the next element, which has this tag, to be read in turn.
    fn inner(&mut self, tag: u8) -> Option<Self> {
        let (found, content) = self.next()?;
        (found == tag).then_some(Self(content))
    }
}

/// Returns the common name, or else the organisation.
fn name(parts: Reader<'_>) -> String {
    let find = |wanted: &&[u8]| {
        let mut parts = parts;
        std::iter::from_fn(|| parts.inner(SET)).find_map(|mut set| {
            let mut pair = set.inner(SEQUENCE)?;
            let Reader(kind) = pair.inner(OID)?;
            let (_, value) = pair.next()?;
            (kind == *wanted).then(|| shown(value))
        })
    };
    NAMES.iter().find_map(find).unwrap_or_else(|| "nobody that it names".to_owned())
}

fn shown(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let plain = text.chars().map(|c| if c.is_control() { '?' } else { c });
    format!("{:?}", plain.take(LONGEST).collect::<String>())
}

fn moment(validity: &mut Reader<'_>) -> Option<Moment> {
    let (tag, digits) = validity.next()?;
    let digits = std::str::from_utf8(digits).ok()?.strip_suffix('Z')?;
    let digits = match tag {
        // RFC 5280 §4.1.2.5.1
        UTC_TIME if digits < "50" => format!("20{digits}"),
        UTC_TIME => format!("19{digits}"),
        GENERALIZED_TIME => digits.to_owned(),
        _ => return None,
    };
    let is_whole = digits.len() == 14 && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_whole.then_some(Moment(digits))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, Issuer, KeyPair, date_time_ymd};

    use super::*;

    fn der() -> Vec<u8> {
        let made = || {
            let (authority_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
            let mut authority = CertificateParams::new(Vec::new())?;
            authority.distinguished_name.push(DnType::CommonName, "The Authority\u{7}");
            let mut params = CertificateParams::new(vec!["hub.example".into()])?;
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(DnType::OrganizationName, "Hub & Co");
            params.not_before = date_time_ymd(2026, 1, 2);
            params.not_after = date_time_ymd(2051, 3, 4);
            let issuer = Issuer::new(authority, authority_key);
            Ok::<_, rcgen::Error>(params.signed_by(&key, &issuer)?.der().to_vec())
        };
        made().unwrap_or_else(|error| unreachable!("{error}"))
    }

    #[test]
    fn a_certificate_tells_whose_it_is() {
        let text = Certificate::read(&der()).map(|it| it.to_string());
        let expected = "the certificate of \"Hub & Co\", issued by \"The Authority?\", valid 2026-01-02 \
                        to 2051-03-04";
        assert_eq!(text.as_deref(), Some(expected));
    }

    #[test]
    fn a_certificate_is_valid_from_its_first_second_to_its_last() {
        let certificate = Certificate::read(&der()).unwrap_or_else(|| unreachable!());
        for (time, expected) in [
            ("2026-01-01T23:59:59Z", Validity::NotYet),
            ("2026-01-02T00:00:00Z", Validity::Valid),
            ("2051-03-04T00:00:00Z", Validity::Valid),
            ("2051-03-04T00:00:01Z", Validity::Expired),
        ] {
            let time = humantime::parse_rfc3339(time).unwrap_or_else(|_| unreachable!());
            assert_eq!(certificate.validity(time), expected);
        }
    }

    #[test]
    fn whatever_is_malformed_is_left_out() {
        let der = der();
        for end in 0..der.len() {
            assert_eq!(Certificate::read(&der[..end]), None, "{end}");
        }
        for at in 0..der.len() {
            for flipped in [0x00, 0x7f, 0x80, 0xff] {
                let mut der = der.clone();
                der[at] = flipped;
                // It must only not panic.
                let _ = Certificate::read(&der);
            }
        }
    }
}
