//! `NVIDIA_REQUIRE_*` from outside: what each condition means, and the line that a mistake gets.

use oci_mig_hook::failure::{Exit, Failure};
use oci_mig_hook::mig::Version;
use oci_mig_hook::require::{Facts, Requirements, Unmet};
use proptest::prelude::*;

/// As NVIDIA's CUDA 12.4 images have it, shortened.
const CUDA_12_4: &str = "cuda>=12.4 brand=tesla,driver>=470,driver<471 brand=unknown,driver>=470,driver<471 \
                         brand=nvidia,driver>=470,driver<471 brand=geforce,driver>=535,driver<536";

fn read(environment: &[&str]) -> Result<Requirements, Failure> {
    Requirements::of_environment(environment.iter().copied())
}

fn judged(environment: &[&str], [cuda, driver, arch, brand]: [&str; 4]) -> Result<(), Unmet> {
    let version = |text: &str| text.parse::<Version>().unwrap();
    let (cuda, driver, arch) = (version(cuda), version(driver), version(arch));
    read(environment).unwrap().judge(&Facts {
        cuda: Some(&cuda),
        driver: Some(&driver),
        arch: Some(&arch),
        brand: Some(brand),
    })
}

/// An A100 under R550.
const A100: [&str; 4] = ["12.4", "550.54.15", "8.0", "nvidia"];

fn holds(text: &str) -> bool {
    judged(&[&format!("NVIDIA_REQUIRE_X={text}")], A100).is_ok()
}

/// The line that stops the container.
fn complaint(environment: &[&str]) -> String {
    let failure = read(environment).unwrap_err();
    assert_eq!(failure.exit(), Exit::Usage);
    failure.to_string()
}

#[test]
fn an_image_without_them_requires_nothing() {
    for environment in [
        &[][..],
        &["PATH=/bin", "CUDA_VERSION=99.0", "NVIDIA_REQUIRE=cuda>=99"],
        &["NVIDIA_REQUIRE_CUDA="],
        &["NVIDIA_REQUIRE_CUDA= ,  ,, "],
        &["NVIDIA_REQUIRE_JETPACK=csv-mounts=all"],
        &["NVIDIA_REQUIRE_CUDA"],
    ] {
        judged(environment, A100).unwrap_or_else(|unmet| panic!("{environment:?}: {unmet:?}"));
    }
}

#[test]
fn each_property_is_compared_by_each_operator() {
    for text in [
        "cuda=12.4",
        "cuda!=12.3",
        "cuda<12.10",
        "cuda<=12.4",
        "cuda>12",
        "cuda>=12.4.0",
        "driver>=550",
        "driver<551",
        "driver=550.54.15",
        "arch=8",
        "arch>=8.0",
        "arch<9",
        "brand=nvidia",
        "brand=NVIDIA",
        "BRAND!=Tesla",
        "CUDA>=12.4",
    ] {
        assert!(holds(text), "{text}");
    }
    for text in [
        "cuda!=12.4",
        "cuda=12.3",
        "cuda<12.4",
        "cuda>12.4",
        "cuda>=12.10",
        "cuda<=12.3",
        "driver>=551",
        "arch>=9.0",
        "arch=8.6",
        "brand=tesla",
        "brand!=nvidia",
    ] {
        assert!(!holds(text), "{text}");
    }
}

#[test]
fn a_space_is_an_or_and_a_comma_an_and() {
    assert!(holds("cuda>=13 driver>=470"));
    assert!(!holds("cuda>=13,driver>=470"));
    assert!(holds("cuda>=13,driver>=470 brand=tesla arch=8.0,cuda>=12"));
    assert!(!holds("cuda>=13 brand=tesla,driver>=470 arch=9.0,cuda>=12"));
    let both = |first: &str, second: &str| {
        let environment = [
            format!("NVIDIA_REQUIRE_A={first}"),
            format!("NVIDIA_REQUIRE_B={second}"),
        ];
        judged(&[&environment[0], &environment[1]], A100).is_ok()
    };
    assert!(both("cuda>=12", "arch>=8"));
    assert!(!both("cuda>=12", "arch>=9"), "all variables must hold");
}

#[test]
fn nvidias_own_images_run_where_nvidia_says_that_they_do() {
    let environment = [&*format!("NVIDIA_REQUIRE_CUDA={CUDA_12_4}")];
    judged(&environment, A100).unwrap();
    judged(&environment, ["11.4", "470.57.02", "8.0", "nvidia"]).unwrap();
    judged(&environment, ["11.4", "470.57.02", "7.0", "Tesla"]).unwrap();
    let unmet = judged(&environment, ["11.6", "510.47.03", "8.0", "nvidia"]).unwrap_err();
    assert_eq!(
        unmet,
        Unmet {
            variable: "NVIDIA_REQUIRE_CUDA".to_owned(),
            condition: "cuda>=12.4".to_owned(),
            property: "cuda",
            found: "11.6".to_owned(),
            of_gpu: false,
            others: 4,
        }
    );
}

#[test]
fn what_the_driver_does_not_tell_is_as_it_should_be() {
    let all = read(&["NVIDIA_REQUIRE_X=cuda>=99,driver>=999,arch>=99,brand=titan"]).unwrap();
    all.judge(&Facts::default()).unwrap();
    let brand = Facts {
        brand: Some("nvidia"),
        ..Facts::default()
    };
    let unmet = all.judge(&brand).unwrap_err();
    assert_eq!(
        (unmet.condition.as_str(), unmet.found.as_str()),
        ("brand=titan", "nvidia")
    );
    assert!(unmet.of_gpu);
}

#[test]
fn one_switch_turns_all_of_it_off_even_what_does_not_parse() {
    for value in ["1", "t", "T", "true", "TRUE", "True"] {
        let off = format!("NVIDIA_DISABLE_REQUIRE={value}");
        judged(
            &["NVIDIA_REQUIRE_CUDA=cuda>=99", "NVIDIA_REQUIRE_X=?", &off],
            A100,
        )
        .unwrap();
    }
    for value in ["", "0", "false", "yes", "tRUE"] {
        let not = format!("NVIDIA_DISABLE_REQUIRE={value}");
        judged(&["NVIDIA_REQUIRE_CUDA=cuda>=99", &not], A100).unwrap_err();
    }
}

#[test]
fn of_two_variables_of_one_name_the_last_counts() {
    judged(
        &["NVIDIA_REQUIRE_CUDA=cuda>=99", "NVIDIA_REQUIRE_CUDA=cuda>=12"],
        A100,
    )
    .unwrap();
    let later = [
        "NVIDIA_DISABLE_REQUIRE=1",
        "NVIDIA_DISABLE_REQUIRE=0",
        "NVIDIA_REQUIRE_CUDA=cuda>=99",
    ];
    judged(&later, A100).unwrap_err();
}

#[test]
fn what_does_not_parse_is_named() {
    for (text, why) in [
        (
            "cuda",
            "'cuda': a condition is a property (cuda, driver, arch, brand), one of",
        ),
        ("12.4", "'12.4': a condition is a property"),
        ("cuda>=", "'cuda>=': its value is no version like 12.4"),
        ("cuda>=twelve", "'cuda>=twelve': its value is no version"),
        ("cuda>=12.4-rc", "'cuda>=12.4-rc': its value is no version"),
        ("cuda==12.4", "'cuda==12.4': the operators are = != < <= > >="),
        ("cuda=>12.4", "'cuda=>12.4': the operators are"),
        ("cuda!12.4", "'cuda!12.4': the operators are"),
        (
            ">=12.4",
            "'>=12.4': the properties are cuda, driver, arch and brand",
        ),
        ("gpu=a100", "'gpu=a100': the properties are"),
        (
            "brand>=tesla",
            "'brand>=tesla': a brand has no order: use = or !=",
        ),
        ("brand=", "'brand=': its value is missing"),
        ("cuda>=12.4,driver", "'driver': a condition is a property"),
        ("driver>=99999999999999999999", "its value is no version"),
    ] {
        let line = complaint(&[&format!("NVIDIA_REQUIRE_CUDA={text}")]);
        assert!(
            line.starts_with("can't read NVIDIA_REQUIRE_CUDA: ") && line.contains(why),
            "{text}: {line}"
        );
        assert!(
            line.ends_with("or set NVIDIA_DISABLE_REQUIRE=1 in its environment"),
            "{line}"
        );
    }
}

#[test]
fn how_much_is_read_is_bounded_and_so_is_the_line_about_it() {
    let many: Vec<String> = (0..33).map(|n| format!("NVIDIA_REQUIRE_{n}=cuda>=1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let line = complaint(&many);
    assert!(
        line.starts_with("too much of NVIDIA_REQUIRE_*: at most 32 variables are read"),
        "{line}"
    );
    judged(&many[..32], A100).unwrap();
    let long = format!("NVIDIA_REQUIRE_X=cuda>=1{}", " cuda>=1".repeat(3000));
    assert!(complaint(&[&long]).starts_with("too much of NVIDIA_REQUIRE_*"));
    let conditions = format!("NVIDIA_REQUIRE_X=cuda>=1{}", ",cuda>=1".repeat(1000));
    let line =
        "too much of NVIDIA_REQUIRE_*: at most 32 variables are read, 16 KiB and 1000 conditions of them; ";
    assert!(complaint(&[&conditions]).starts_with(line));
    let line = complaint(&[&format!("NVIDIA_REQUIRE_X={}", "é\u{1b}[2J".repeat(1000))]);
    assert!(line.len() < 2000 && !line.contains('\u{1b}'), "{line}");
}

#[test]
fn they_are_read_again_from_their_variables() {
    let environment = [
        "NVIDIA_REQUIRE_CUDA=cuda>=12.4  arch=8",
        "NVIDIA_REQUIRE_B=brand=x",
    ];
    let first = read(&environment).unwrap();
    let variables: Vec<_> = first.variables().collect();
    let again = variables
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    assert_eq!(Requirements::of_variables(again).unwrap(), first);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}", name in "[A-Z_]{0,8}") {
        let _ = read(&[&format!("NVIDIA_REQUIRE_{name}={text}")]);
    }

    #[test]
    fn nothing_that_looks_like_conditions_makes_it_panic(
        text in "((cuda|driver|arch|brand|x)?[<>=!]{0,3}[0-9.a-zé]{0,6}[ ,\t]{0,2}){0,12}"
    ) {
        if let Ok(read) = read(&[&format!("NVIDIA_REQUIRE_X={text}")]) {
            let _ = read.judge(&Facts { brand: Some("nvidia"), ..Facts::default() });
        }
    }

    #[test]
    fn one_alternative_that_holds_is_enough(at in 0usize..6) {
        let mut alternatives = ["cuda>=99", "brand=titan", "arch>=9,cuda>=1", "driver<1", "brand=x,arch=8"].to_vec();
        alternatives.insert(at.min(5), "arch=8.0,cuda>=12.4");
        prop_assert!(holds(&alternatives.join(" ")));
    }
}
