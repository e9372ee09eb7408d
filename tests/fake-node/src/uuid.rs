//! UUIDs made from names: the same node always gets the same ones.

/// 128-bit FNV-1a, then a few rounds more so that near names don't give near UUIDs.
fn digest(name: &str) -> u128 {
    const BASIS: u128 = 0x6c62272e07bb014262b821756295c58d;
    const PRIME: u128 = 0x0000000001000000000000000000013b;
    name.bytes()
        .chain([0; 8])
        .fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

fn print(bits: u128) -> String {
    let hex = format!("{bits:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// A GPU's UUID.
pub fn gpu(name: &str) -> String {
    format!("GPU-{}", print(digest(name)))
}

/// A MIG device's UUID, shaped as version 5. It follows from place, not from profile: a repartitioned GPU shows
/// old UUIDs with new meanings, as real ones may.
pub fn mig(gpu_uuid: &str, gi: u32, ci: u32) -> String {
    let bits = digest(&format!("{gpu_uuid}/{gi}/{ci}"));
    let version = bits & !(0xf << 76) | 5 << 76;
    let variant = version & !(0b11 << 62) | 0b10 << 62;
    format!("MIG-{}", print(variant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mig_uuids_are_of_version_5_and_differ() {
        let all: std::collections::BTreeSet<String> = (0..15).map(|gi| mig("GPU-x", gi, 0)).collect();
        assert_eq!(all.len(), 15);
        for uuid in all {
            assert_eq!(uuid.len(), 40, "{uuid}");
            assert_eq!(&uuid[18..19], "5", "{uuid}");
            assert!("89ab".contains(&uuid[23..24]), "{uuid}");
        }
    }
}
