//! Which points are tried where not all are.

use crate::plan::Point;

/// Of these points those that are dear, and `more` of the others, chosen by `seed`.
pub fn sample(points: Vec<Point>, more: usize, seed: u64) -> Vec<Point> {
    let (mut chosen, mut others): (Vec<_>, Vec<_>) = points.into_iter().partition(|point| point.is_dear);
    let mut random = seed;
    for _ in 0..more.min(others.len()) {
        let at = next(&mut random) as usize % others.len();
        chosen.push(others.swap_remove(at));
    }
    chosen
}

/// SplitMix64: the same numbers everywhere for one seed.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
