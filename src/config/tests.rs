//! Files that are right, and files that are wrong.

use super::resolve::parse_length;
use super::*;

fn parse(text: &str) -> Result<Config, String> {
    resolve(read(text)?, None)
}

#[test]
fn an_empty_file_is_the_defaults() {
    let config = parse("").unwrap();
    assert_eq!(config.driver.proc, Path::new("/proc"));
    assert_eq!(config.ledger_dir, Path::new("/run/oci-mig-hook"));
    assert_eq!(config.pending, Duration::from_secs(120));
    assert_eq!(config.nvml.avoid, Some(Duration::from_secs(300)));
    assert_eq!(parse("[nvml]\navoid = \"off\"").unwrap().nvml.avoid, None);
    assert!(config.mask_proc && !parse("mask_proc = false").unwrap().mask_proc);
    assert_eq!(config.driver.files, Files::Host);
    assert_eq!(config.guard, Guard::Off);
    assert_eq!(config.unmanaged, Unmanaged::Skip);
    assert_eq!(
        config.limits,
        Limits {
            devices: 8,
            wait: Duration::from_secs(86_400),
            profiles: None
        }
    );
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let unknown = parse("[nvml]\nlibary = \"/x\"\n").unwrap_err();
    assert!(unknown.starts_with("line 2: unknown field `libary`"), "{unknown}");
    let unknown = parse("unmanaged = \"give\"").unwrap_err();
    assert!(
        unknown.starts_with("line 1: unknown variant `give`, expected `skip` or `ignore`"),
        "{unknown}"
    );
    let unknown = parse("[driver]\nfiles = \"all\"").unwrap_err();
    assert!(
        unknown.starts_with("line 2: unknown variant `all`, expected one of `host`, `cdi`, `nvidia`, `none`"),
        "{unknown}"
    );
    let unknown = parse("guard = \"on\"").unwrap_err();
    assert!(
        unknown.starts_with("line 1: unknown variant `on`, expected one of `off`"),
        "{unknown}"
    );
    for (text, expected) in [
        (
            "[driver]\ncdi = [\"/etc/cdi\", \"cdi\"]",
            "driver.cdi = \"cdi\" is not an absolute path",
        ),
        (
            "[nvml]\ndeadline = \"soon\"",
            "nvml.deadline = \"soon\" is not a length of time like \"10s\"",
        ),
        (
            "[nvml]\navoid = \"0s\"",
            "nvml.avoid = \"0s\" is not a length of time like \"5m\"",
        ),
        (
            "[lease]\npending = \"0s\"",
            "lease.pending = \"0s\" is not a length of time like \"2m\"",
        ),
        (
            "[ledger]\ndir = \"run\"",
            "ledger.dir = \"run\" is not an absolute path",
        ),
        (
            "[limits]\nprofiles = [\"big\"]",
            "limits.profiles: 'big' is not a profile like 1g.10gb, 1c.3g.40gb or 1g.10gb+me",
        ),
    ] {
        assert_eq!(parse(text).unwrap_err(), expected);
    }
}

#[test]
fn a_newer_layout_is_not_guessed_at() {
    parse("version = 1\nguard = \"warn\"").unwrap();
    for newer in ["version = 2", "version = 2\n[unheard]\nof = true"] {
        assert_eq!(
            parse(newer).unwrap_err(),
            "its version is 2, and this program knows versions up to 1"
        );
    }
    assert_eq!(
        parse("version = 0").unwrap_err(),
        "version = 0 is none; the first is 1"
    );
    assert!(parse("version = \"2\"").unwrap_err().starts_with("line 1: "));
}

#[test]
fn lengths_of_time_are_whole_numbers_with_a_unit() {
    for (text, ms) in [
        ("500ms", 500),
        ("30s", 30_000),
        ("5m", 300_000),
        ("24h", 86_400_000),
    ] {
        assert_eq!(parse_length(text), Some(Duration::from_millis(ms)), "{text}");
    }
    for text in [
        "",
        "30",
        "s",
        "-1s",
        "1.5s",
        "30 s",
        "1d",
        "99999999999999999999s",
        "18446744073709551615h",
    ] {
        assert_eq!(parse_length(text), None, "{text}");
    }
}
