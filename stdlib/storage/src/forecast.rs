//! How fast a disk fills, from looks at it.

use hob_model::Timestamp;

/// How full it was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Timestamp,
    pub(crate) used: u64,
    pub(crate) free: u64,
}

/// The most samples that are compared each with each: of more, as many are taken at even distances.
const COMPARED_MAX: usize = 500;

/// Bytes a second: the median of the slopes between any two samples (Theil 1950, Sen 1968). `None` for less than two times.
pub(crate) fn slope(samples: &[Sample]) -> Option<f64> {
    let last = samples.len().checked_sub(1)?;
    let count = samples.len().min(COMPARED_MAX);
    let taken: Vec<&Sample> =
        (0..count).map(|at| &samples[at * last / count.saturating_sub(1).max(1)]).collect();
    #[allow(clippy::cast_precision_loss)] // nobody needs a forecast to the byte
    let between = |a: &Sample, b: &Sample| {
        let seconds = b.at.duration_since(a.at).as_secs_f64();
        (seconds != 0.0).then(|| (b.used as f64 - a.used as f64) / seconds)
    };
    let mut slopes: Vec<f64> = taken
        .iter()
        .enumerate()
        .flat_map(|(at, a)| taken[at + 1..].iter().filter_map(|b| between(a, b)))
        .collect();
    slopes.sort_by(f64::total_cmp);
    match slopes.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(slopes[odd / 2]),
        even => Some(f64::midpoint(slopes[even / 2 - 1], slopes[even / 2])),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test fails by panicking

    use super::*;

    fn samples(used: impl Iterator<Item = u64>) -> Vec<Sample> {
        let at = |hour: i64| Timestamp::from_second(hour * 3600).unwrap();
        (0..).zip(used).map(|(hour, used)| Sample { at: at(hour), used, free: 0 }).collect()
    }

    #[test]
    fn the_slope_is_that_of_most_looks() {
        assert_eq!(slope(&[]), None);
        assert_eq!(slope(&samples([1].into_iter())), None);
        let same =
            samples([1, 2].into_iter()).into_iter().map(|it| Sample { at: Timestamp::UNIX_EPOCH, ..it });
        assert_eq!(slope(&same.collect::<Vec<_>>()), None, "both at one time");
        assert_eq!(slope(&samples([7200, 3600, 0].into_iter())), Some(-1.0));
        // One that is far off changes nothing; neither does their number.
        for count in [50_u64, 5000] {
            let odd = samples((0..count).map(|it| if it == 7 { 0 } else { 1_000_000_000 + it * 3600 }));
            assert!((slope(&odd).unwrap() - 1.0).abs() < 0.05, "{count}: {:?}", slope(&odd));
        }
    }
}
