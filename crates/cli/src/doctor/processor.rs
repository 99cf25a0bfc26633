//! Whether the processor has instructions for the outer cipher.

use super::report::{Check, Finding};

/// Tells if it has none, which makes large messages slow and changes nothing else.
pub(super) fn check() -> Option<Check> {
    (has_aes() == Some(false)).then(slow)
}

fn slow() -> Check {
    let text = "the processor has no instructions for AES: messages are sealed and opened several times slower \
                than on one that has them";
    let remedy = "Nothing is wrong. Where many large messages are sent, use a machine that has them \
                  (a virtual one may hide those of its host).";
    Check::warning("processor", Finding::new("no_aes_instructions", text, remedy))
}

/// Returns whether it has instructions for AES and for carry-less multiplication; `None` if nobody knows.
fn has_aes() -> Option<bool> {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return Some(
        std::arch::is_x86_feature_detected!("aes")
            && std::arch::is_x86_feature_detected!("pclmulqdq"),
    );
    #[cfg(target_arch = "aarch64")]
    return Some(
        std::arch::is_aarch64_feature_detected!("aes")
            && std::arch::is_aarch64_feature_detected!("pmull"),
    );
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    None
}

#[cfg(test)]
mod tests {
    use super::super::report::Report;

    #[test]
    fn a_processor_without_aes_is_worth_knowing_and_nothing_wrong() {
        let report = Report::new(true, vec![super::slow()], Vec::new());
        assert!(report.is_healthy());
        let text = report.text();
        assert!(
            text.contains("no_aes_instructions") && text.contains("several times slower"),
            "{text}"
        );
        assert!(include_str!("../../../../docs/doctor.md").contains("`no_aes_instructions`"));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn what_is_told_is_what_the_kernel_says() {
        let Ok(known) = std::fs::read_to_string("/proc/cpuinfo") else { return };
        let flags = known.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
        let has = |flag: &str| flags.split_whitespace().any(|it| it == flag);
        assert_eq!(super::has_aes(), Some(has("aes") && has("pclmulqdq")));
    }
}
