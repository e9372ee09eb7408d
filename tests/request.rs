//! The request language from outside: what each annotation means, and the line that a mistake gets.

use std::collections::{BTreeMap, HashMap};

use oci_mig_hook::failure::{Exit, Failure};
use oci_mig_hook::mig::Profile;
use oci_mig_hook::request::{GpuConstraint, Request, Want, keys};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

fn parse(annotations: &[(&str, &str)]) -> Result<Option<Request>, Failure> {
    Request::from_annotations(annotations.iter().copied(), None)
}

/// What the container `web` of a pod asks for.
fn of_web(annotations: &[(&str, &str)]) -> Result<Option<Request>, Failure> {
    Request::from_annotations(annotations.iter().copied(), Some("web"))
}

fn request(annotations: &[(&str, &str)]) -> Request {
    parse(annotations).unwrap().unwrap()
}

/// The line that stops the container.
fn complaint(annotations: &[(&str, &str)]) -> String {
    let failure = parse(annotations).unwrap_err();
    assert_eq!(failure.exit(), Exit::Usage);
    failure.to_string()
}

#[test]
fn a_container_without_our_annotations_has_no_request() {
    assert_eq!(parse(&[]).unwrap(), None);
    let others = [
        ("mig.example.com/profile", "1g.10gb"),
        ("mig.a.b", "x"),
        ("io.kubernetes.cri.sandbox-id", "0"),
    ];
    assert_eq!(parse(&others).unwrap(), None);
    assert_eq!(
        parse(&[("mig.lease", "anything at all\n")]).unwrap(),
        None,
        "a lease asks for nothing"
    );
}

#[test]
fn a_profile_may_wear_its_kubernetes_prefix() {
    let plain = request(&[("mig.profile", "1c.3g.40gb")]);
    assert_eq!(
        *plain.want(),
        Want::Profile("1c.3g.40gb".parse::<Profile>().unwrap())
    );
    assert_eq!((plain.count().get(), plain.gpu(), plain.wait()), (1, None, None));
    assert_eq!(request(&[("mig.profile", "mig-1c.3g.40gb")]), plain);
    assert_eq!(
        request(&[
            ("mig.profile", "1c.3g.40gb"),
            ("mig.count", "1"),
            ("mig.lease", "x")
        ]),
        plain
    );
}

#[test]
fn all_else_combines() {
    let asked = [
        ("mig.memory", "10GB"),
        ("mig.compute", "2"),
        ("mig.count", "3"),
        ("mig.gpu", "*A100*"),
    ];
    let request = request(&asked);
    let Want::AtLeast {
        memory: Some(memory),
        compute: Some(compute),
    } = request.want()
    else {
        panic!("{request:?}");
    };
    assert_eq!(
        (memory.bytes(), compute.get(), request.count().get()),
        (10_000_000_000, 2, 3)
    );
    assert!(matches!(request.gpu(), Some(GpuConstraint::Product(_))));
    assert_eq!(
        request.to_string(),
        "mig.compute=2 mig.count=3 mig.gpu=*A100* mig.memory=10GB"
    );
}

/// Someone who only says where, or how many, is given the smallest there is.
#[test]
fn a_gpu_or_a_count_alone_asks_for_any_device() {
    for asked in [
        [("mig.gpu", "0000:0f:00.0")],
        [("mig.count", "1")],
        [("mig.count", "2")],
    ] {
        let request = request(&asked);
        assert_eq!(
            *request.want(),
            Want::AtLeast {
                memory: None,
                compute: None
            }
        );
        assert_eq!(
            request.to_annotations(),
            asked.map(|(key, value)| (key, value.to_owned())).into()
        );
    }
}

#[test]
fn a_mistake_is_named_with_its_key_its_value_and_what_would_be_right() {
    for (key, value, line) in [
        (
            "mig.profile",
            "9g",
            "mig.profile=9g: is not a profile; write a profile: 1g.10gb, 1c.3g.40gb, 1g.10gb+me; \
             or gpu, for a whole GPU",
        ),
        (
            "mig.profile",
            "1G.10GB",
            "mig.profile=1G.10GB: is not in lower case: 1g.10gb; write a profile: 1g.10gb, 1c.3g.40gb, 1g.10gb+me; \
             or gpu, for a whole GPU",
        ),
        (
            "mig.memory",
            "10",
            "mig.memory=10: has no unit; write a whole number and a unit: 10GB, 9GiB, 9984MiB",
        ),
        (
            "mig.memory",
            " 10GB",
            "mig.memory= 10GB: has white space around it; write a whole number and a unit: 10GB, 9GiB, 9984MiB",
        ),
        (
            "mig.count",
            "65",
            "mig.count=65: is not between 1 and 64; write a number of devices: 1 to 64",
        ),
        (
            "mig.count",
            "",
            "mig.count=: is empty; write a number of devices: 1 to 64",
        ),
        (
            "mig.compute",
            "0",
            "mig.compute=0: is not between 1 and 255; write a number of compute slices: 1, 2, 3",
        ),
        (
            "mig.gpu",
            "0",
            "mig.gpu=0: is an index, which names another GPU after the next reboot; write a GPU's UUID (GPU-...), \
             its PCI bus id (0000:0f:00.0) or its product name, with * for any part",
        ),
        (
            "mig.device",
            "MIG-7/0",
            "mig.device=MIG-7/0: is no device's UUID; write the device's UUID, as nvidia-smi -L prints it: \
             MIG-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx, or GPU-... for a whole GPU",
        ),
        (
            "mig.wait",
            "2d",
            "mig.wait=2d: is not a whole number and one of the units s, m, h; write a whole number and a unit: \
             30s, 5m, 2h; at most 24h",
        ),
    ] {
        assert_eq!(complaint(&[(key, value)]), line);
    }
}

#[test]
fn an_unknown_word_is_answered_with_the_known_ones() {
    assert_eq!(
        complaint(&[("mig.profil", "1g.10gb")]),
        "mig.profil: no such annotation; did you mean mig.profile? There are mig.profile, mig.memory, mig.compute, \
         mig.count, mig.gpu, mig.device, mig.wait"
    );
    assert_eq!(
        complaint(&[("mig.strategy", "mixed")]),
        "mig.strategy: no such annotation; there are mig.profile, mig.memory, mig.compute, mig.count, mig.gpu, \
         mig.device, mig.wait"
    );
}

#[test]
fn a_whole_gpu_is_asked_for_by_its_word_or_its_name() {
    let plain = request(&[("mig.profile", "gpu")]);
    assert_eq!(*plain.want(), Want::Gpu { memory: None });
    assert_eq!(plain.to_string(), "mig.profile=gpu");
    let all = [
        ("mig.count", "2"),
        ("mig.gpu", "*H100*"),
        ("mig.memory", "40GB"),
        ("mig.profile", "gpu"),
        ("mig.wait", "30s"),
    ];
    let full = request(&all);
    assert!(matches!(full.want(), Want::Gpu { memory: Some(memory) } if memory.mib() == 38_147));
    assert_eq!(
        full.to_annotations(),
        all.map(|(key, value)| (key, value.to_owned())).into()
    );
    let uuid = "GPU-1a2b3c4d-0000-4000-8000-0123456789ab";
    let named = request(&[("mig.device", uuid), ("mig.wait", "1m")]);
    assert_eq!(*named.want(), Want::Device(uuid.parse().unwrap()));
    assert_eq!(named.to_string(), format!("mig.device={uuid} mig.wait=1m"));
}

/// Nobody could say what the number would count: a whole GPU is cut into no compute slices.
#[test]
fn a_whole_gpu_has_no_compute_slices_to_ask_for() {
    assert_eq!(
        complaint(&[
            ("mig.compute", "7"),
            ("mig.memory", "40GB"),
            ("mig.profile", "gpu")
        ]),
        "mig.profile and mig.compute: a whole GPU is cut into no compute slices; remove mig.profile, or mig.compute"
    );
    assert_eq!(
        complaint(&[
            ("mig.device", "GPU-1a2b3c4d-0000-4000-8000-0123456789ab"),
            ("mig.profile", "gpu")
        ]),
        "mig.device and mig.profile: names one device, and nothing but mig.wait goes with it; remove mig.device, or \
         mig.profile"
    );
    assert!(complaint(&[("mig.profile", "GPU")]).starts_with("mig.profile=GPU: is not a profile; "));
    assert!(complaint(&[("mig.profile", "mig-gpu")]).starts_with("mig.profile=mig-gpu: is not a profile; "));
    assert!(complaint(&[("mig.device", "GPU-1")]).starts_with("mig.device=GPU-1: is no device's UUID; "));
}

/// A pod's annotations reach all of its containers.
#[test]
fn a_key_that_names_a_container_speaks_to_it_alone_and_wins() {
    for (asked, of_web_is) in [
        (&[("mig.profile", "1g.10gb")][..], "mig.profile=1g.10gb"),
        (
            &[("mig.profile", "1g.10gb"), ("mig.profile/web", "2g.20gb")],
            "mig.profile=2g.20gb",
        ),
        (
            &[("mig.profile", "1g.10gb"), ("mig.profile/db", "2g.20gb")],
            "mig.profile=1g.10gb",
        ),
        // How many and on which GPU stand, and which device is asked anew.
        (
            &[
                ("mig.profile", "1g.10gb"),
                ("mig.count", "2"),
                ("mig.gpu", "*A100*"),
                ("mig.memory/web", "20GB"),
            ],
            "mig.count=2 mig.gpu=*A100* mig.memory=20GB",
        ),
        (
            &[
                ("mig.memory", "10GB"),
                ("mig.compute", "2"),
                ("mig.memory/web", "20GB"),
            ],
            "mig.memory=20GB",
        ),
        (
            &[
                ("mig.count", "2"),
                ("mig.count/web", "1"),
                ("mig.profile/web", "1g.10gb"),
            ],
            "mig.profile=1g.10gb",
        ),
        (
            &[
                ("mig.profile", "1g.10gb"),
                ("mig.device/web", "MIG-1a2b3c4d-0000-5000-8000-0123456789ab"),
            ],
            "mig.device=MIG-1a2b3c4d-0000-5000-8000-0123456789ab",
        ),
    ] {
        let request = of_web(asked).unwrap().unwrap();
        assert_eq!(request.to_string(), of_web_is, "{asked:?}");
    }
    // What others are told, right or wrong, is nothing to this one.
    for others in [
        &[("mig.profile/db", "1g.10gb")][..],
        &[("mig.profile/db", "nonsense"), ("mig.wait/db", "")],
        &[
            ("mig.profile/we", "1g.10gb"),
            ("mig.profile/webb", "1g.10gb"),
            ("mig.profile/Web", "1g.10gb"),
        ],
    ] {
        assert_eq!(of_web(others).unwrap(), None, "{others:?}");
    }
}

#[test]
fn a_mistake_in_a_key_for_one_container_is_named_as_it_was_written() {
    for (asked, line) in [
        (
            &[("mig.profile/web", "9g")][..],
            "mig.profile/web=9g: is not a profile; write a profile: 1g.10gb, 1c.3g.40gb, 1g.10gb+me; \
             or gpu, for a whole GPU",
        ),
        (
            &[("mig.profile/web", "1g.10gb"), ("mig.memory/web", "10GB")],
            "mig.profile/web and mig.memory/web: a profile says both memory and compute; remove mig.profile/web, or \
             mig.memory/web",
        ),
        (
            &[
                ("mig.count", "2"),
                ("mig.device/web", "MIG-1a2b3c4d-0000-5000-8000-0123456789ab"),
            ],
            "mig.device/web and mig.count: names one device, and nothing but mig.wait goes with it; remove \
             mig.device/web, or mig.count",
        ),
        (
            &[("mig.wait/web", "30s")],
            "mig.wait/web: says how long to wait, and nothing says for what; add mig.profile, mig.memory, mig.compute \
             or mig.device",
        ),
        // Whomever it speaks to: nobody would ever read it.
        (
            &[("mig.profil/db", "1g.10gb")],
            "mig.profil/db: no such annotation; did you mean mig.profile? There are mig.profile, mig.memory, \
             mig.compute, mig.count, mig.gpu, mig.device, mig.wait",
        ),
        (
            &[("mig.profile/", "1g.10gb")],
            "mig.profile/: what follows the slash is no container's name; write mig.profile for every container of \
             the pod, or mig.profile/NAME for one",
        ),
        (
            &[("mig.profile/web/1", "1g.10gb")],
            "mig.profile/web/1: what follows the slash is no container's name; write mig.profile for every container \
             of the pod, or mig.profile/NAME for one",
        ),
        (
            &[("mig.lease/db", "x")],
            "mig.lease/db: mig.lease is written by oci-mig-hook alone; remove it",
        ),
    ] {
        let failure = of_web(asked).unwrap_err();
        assert_eq!(
            (failure.exit(), failure.to_string().as_str()),
            (Exit::Usage, line)
        );
    }
}

#[test]
fn who_has_no_name_in_a_pod_is_not_asked_for_by_name() {
    for asked in [
        &[("mig.profile/web", "1g.10gb")][..],
        &[("mig.profile", "1g.10gb"), ("mig.profile/web", "1g.10gb")],
    ] {
        assert_eq!(
            complaint(asked),
            "mig.profile/web: names one container of a pod, and this container has no name in any; use mig.profile \
             on the container itself"
        );
    }
}

#[test]
fn contradictions_are_refused() {
    for (asked, line) in [
        (
            &[("mig.profile", "1g.10gb"), ("mig.memory", "10GB")][..],
            "mig.profile and mig.memory: a profile says both memory and compute; remove mig.profile, or mig.memory",
        ),
        (
            &[
                ("mig.profile", "1g.10gb"),
                ("mig.memory", "10GB"),
                ("mig.compute", "1"),
                ("mig.count", "2"),
            ],
            "mig.profile and mig.compute, mig.memory: a profile says both memory and compute; remove mig.profile, \
             or mig.compute and mig.memory",
        ),
        (
            &[
                ("mig.device", "MIG-1a2b3c4d-0000-5000-8000-0123456789ab"),
                ("mig.count", "1"),
            ],
            "mig.device and mig.count: names one device, and nothing but mig.wait goes with it; remove mig.device, \
             or mig.count",
        ),
        (
            &[("mig.wait", "30s")],
            "mig.wait: says how long to wait, and nothing says for what; add mig.profile, mig.memory, mig.compute or \
             mig.device",
        ),
        (
            &[("mig.lease/web", "x")],
            "mig.lease/web: mig.lease is written by oci-mig-hook alone; remove it",
        ),
    ] {
        assert_eq!(complaint(asked), line);
    }
}

/// A mistake in the wait is found before the wait is refused for being early.
#[test]
fn a_wait_is_validated_all_the_same() {
    assert!(complaint(&[("mig.profile", "1g.10gb"), ("mig.wait", "25h")]).contains("is more than 24h"));
    assert!(complaint(&[("mig.profile", "1g"), ("mig.wait", "30s")]).starts_with("mig.profile=1g"));
}

/// An annotation of a megabyte costs a line, not a log.
#[test]
fn a_hostile_length_makes_a_short_line() {
    let long = "9".repeat(1 << 20);
    for key in [
        "mig.profile",
        "mig.memory",
        "mig.compute",
        "mig.count",
        "mig.gpu",
        "mig.device",
        "mig.wait",
    ] {
        for value in [
            long.clone(),
            "*".repeat(1 << 20),
            format!("{long}GB"),
            "\u{202e}\n".repeat(1 << 18),
        ] {
            let line = complaint(&[(key, &value)]);
            assert!(
                line.len() < 1000 && line.lines().count() == 1,
                "{key}: {} bytes",
                line.len()
            );
        }
    }
    let line = complaint(&[(&format!("mig.{long}"), "x")]);
    assert!(line.len() < 400, "{} bytes", line.len());
}

fn memory() -> impl Strategy<Value = String> {
    (1u64..1_000_000, select(vec!["GB", "GiB", "MB", "MiB"])).prop_map(|(n, unit)| format!("{n}{unit}"))
}

fn profile() -> impl Strategy<Value = String> {
    let suffix = select(vec!["", "+me", "+me.all", "+gfx", "-me"]);
    let sizes = (1u8..=12).prop_flat_map(|gi| (1..=gi, Just(gi)));
    (select(vec!["", "mig-"]), sizes, any::<bool>(), 1u16.., suffix).prop_map(
        |(mig, (ci, gi), short, gb, suffix)| match ci == gi && short {
            true => format!("{mig}{gi}g.{gb}gb{suffix}"),
            false => format!("{mig}{ci}c.{gi}g.{gb}gb{suffix}"),
        },
    )
}

fn uuid() -> impl Strategy<Value = String> {
    "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
}

fn device() -> impl Strategy<Value = String> {
    prop_oneof![
        uuid().prop_map(|uuid| format!("MIG-{uuid}")),
        uuid().prop_map(|uuid| format!("GPU-{uuid}")),
        (uuid(), any::<u16>(), any::<u16>()).prop_map(|(uuid, gi, ci)| format!("MIG-GPU-{uuid}/{gi}/{ci}")),
    ]
}

fn gpu() -> impl Strategy<Value = String> {
    prop_oneof![
        uuid().prop_map(|uuid| format!("GPU-{uuid}")),
        "[0-9a-f]{4,8}:[0-9A-F]{2}:[01][0-9a-f]\\.[0-7]",
        "[A-Z*][A-Za-z0-9 *.-]{0,40}[A-Z0-9*]",
    ]
}

fn wait() -> impl Strategy<Value = String> {
    prop_oneof![
        "[1-9][0-9]{0,3}[sm]",
        (1u8..=24).prop_map(|hours| format!("{hours}h"))
    ]
    .prop_filter("at most a day", |wait| {
        wait.strip_suffix('m')
            .is_none_or(|m| m.parse::<u32>().unwrap() <= 1440)
    })
}

/// A value that is right for its key.
fn value(key: &'static str) -> BoxedStrategy<String> {
    match key {
        keys::PROFILE => profile().boxed(),
        keys::MEMORY => memory().boxed(),
        keys::COMPUTE => (1u8..).prop_map(|n| n.to_string()).boxed(),
        keys::COUNT => (1u8..=64).prop_map(|n| n.to_string()).boxed(),
        keys::GPU => gpu().boxed(),
        keys::DEVICE => device().boxed(),
        _ => wait().boxed(),
    }
}

/// Annotations of which each is right and none contradicts another.
fn annotations() -> impl Strategy<Value = BTreeMap<String, String>> {
    let wanted = prop_oneof![
        Just(vec![keys::DEVICE]),
        subsequence(vec![keys::COUNT, keys::GPU], 0..=2).prop_map(|mut keys| {
            keys.push(keys::PROFILE);
            keys
        }),
        subsequence(vec![keys::MEMORY, keys::COMPUTE, keys::COUNT, keys::GPU], 1..=4),
    ];
    let wanted = wanted.prop_map(|keys| (keys, false));
    let whole = subsequence(vec![keys::MEMORY, keys::COUNT, keys::GPU], 0..=3).prop_map(|mut keys| {
        keys.push(keys::PROFILE);
        (keys, true)
    });
    let wanted = prop_oneof![3 => wanted, 1 => whole];
    (wanted, any::<bool>()).prop_flat_map(|((mut keys, is_whole), waits)| {
        keys.extend(waits.then_some(keys::WAIT));
        let value = |key: &'static str| match (key, is_whole) {
            (keys::PROFILE, true) => Just("gpu".to_owned()).boxed(),
            _ => value(key),
        };
        let values: Vec<_> = keys.iter().map(|key| value(key)).collect();
        values.prop_map(move |values| keys.iter().map(|key| (*key).to_owned()).zip(values).collect())
    })
}

/// Something that begins like an annotation of ours, and may go on like one.
fn wild() -> impl Strategy<Value = (String, String)> {
    let key = prop_oneof![
        3 => select(vec!["profile", "memory", "compute", "count", "gpu", "device", "wait", "lease"])
            .prop_map(|word| format!("mig.{word}")),
        1 => (select(vec!["profile", "memory", "count", "wait", "lease", "x"]), "(web)?/?\\PC{0,3}")
            .prop_map(|(word, name)| format!("mig.{word}/{name}")),
        1 => "mig\\.[a-z./]{0,12}",
        1 => "\\PC{0,20}",
    ];
    let digits = "[0-9]{1,22}(GB|GiB|MB|MiB|s|m|h|g|c|gb|g\\.[0-9]{1,6}gb)?";
    let value = prop_oneof![
        2 => digits,
        1 => "(MIG-|GPU-|mig-)?[0-9a-fA-F:./*-]{0,40}",
        1 => any::<String>(),
        1 => "\\PC{0,20}",
    ];
    (key, value)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn print_and_parse_agree(asked in annotations()) {
        let request: Request = serde_json::from_value(serde_json::to_value(&asked).unwrap()).unwrap();
        let printed = serde_json::to_value(&request).unwrap();
        prop_assert_eq!(&serde_json::from_value::<Request>(printed.clone()).unwrap(), &request);
        // Printing is canonical: what it prints prints as itself, and has the same keys as what was asked, but for
        // a count of one.
        let again: Request = serde_json::from_value(printed.clone()).unwrap();
        prop_assert_eq!(&serde_json::to_value(&again).unwrap(), &printed);
        for key in asked.keys() {
            prop_assert!(printed.get(key).is_some() || (key == keys::COUNT && asked[key] == "1"), "{}", key);
        }
        prop_assert_eq!(Request::from_annotations(&asked, None).unwrap(), Some(request));
    }

    #[test]
    fn no_input_panics_and_every_complaint_is_one_line(
        wild in prop::collection::vec(wild(), 0..6),
        container in prop::option::of("(web|\\PC{0,3})"),
    ) {
        if let Err(failure) = Request::from_annotations(wild, container.as_deref()) {
            let line = failure.to_string();
            prop_assert_eq!(failure.exit(), Exit::Usage);
            prop_assert!(line.starts_with("mig."), "{}", line);
            prop_assert!(line.lines().count() == 1 && line.chars().count() < 1500, "{}", line);
        }
    }

    #[test]
    fn the_order_of_annotations_is_nothing(wild in prop::collection::hash_map("mig\\.(profile|memory|count|[a-z]{1,7})(/[ab]?)?", "[0-9a-zA-Z]{0,5}", 0..6)) {
        let forwards: Vec<_> = wild.clone().into_iter().collect();
        let backwards: HashMap<_, _> = wild.into_iter().collect();
        let reversed: Vec<_> = forwards.iter().rev().cloned().collect();
        for container in [None, Some("a")] {
            let read = Request::from_annotations(forwards.clone(), container);
            prop_assert_eq!(&read, &Request::from_annotations(reversed.clone(), container));
            prop_assert_eq!(&read, &Request::from_annotations(backwards.clone(), container));
        }
    }
}
