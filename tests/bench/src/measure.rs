//! Figures and what is said of them. Pure, but for [`pairs`], which only calls.

/// Figures of the same kind, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples(Vec<f64>);

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(figures: I) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        Self(figures)
    }
}

impl Samples {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest that is not below so many of a hundred of them.
    pub fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or(f64::NAN)
    }

    /// The largest.
    pub fn max(&self) -> f64 {
        self.percentile(100)
    }
}

/// The first of each pair as a part of the second.
pub fn ratios(pairs: &[(f64, f64)]) -> Samples {
    pairs.iter().map(|(one, other)| one / other).collect()
}

/// The exponent with which the second grows with the first: 1 where twice of the one is twice of the other.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = logs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let covariance: f64 = logs.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let variance: f64 = logs.iter().map(|point| (point.0 - x).powi(2)).sum();
    covariance / variance
}

/// Measures one and the other in turns; who begins, alternates.
pub async fn pairs(
    count: usize,
    mut one: impl AsyncFnMut() -> f64,
    mut other: impl AsyncFnMut() -> f64,
) -> Vec<(f64, f64)> {
    let mut measured = Vec::with_capacity(count);
    for pair in 0..count {
        if pair.is_multiple_of(2) {
            let first = one().await;
            measured.push((first, other().await));
        } else {
            let second = other().await;
            measured.push((one().await, second));
        }
    }
    measured
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn percentiles_are_figures_that_were_measured() {
        let hundred: Samples = (1..=100).rev().map(f64::from).collect();
        assert_eq!([50, 99, 100, 0].map(|percent| hundred.percentile(percent)), [50.0, 99.0, 100.0, 1.0]);
        let few: Samples = [3.0, 1.0, 2.0].into_iter().collect();
        assert_eq!((few.percentile(50), few.percentile(99), few.max(), few.count()), (2.0, 3.0, 3.0, 3));
        assert!(Samples::from_iter([]).percentile(50).is_nan());
    }

    #[test]
    fn a_ratio_is_of_a_pair() {
        assert_eq!(ratios(&[(1.0, 2.0), (6.0, 2.0)]), Samples(vec![0.5, 3.0]));
    }

    #[test]
    fn the_slope_is_the_exponent_of_growth() {
        let of = |cost: fn(f64) -> f64| slope(&[10.0, 100.0, 500.0].map(|count| (count, cost(count))));
        assert!((of(|count| 7.0 * count) - 1.0).abs() < 1e-9);
        assert!((of(|count| count.powi(2)) - 2.0).abs() < 1e-9);
        // What is spent once makes it less.
        assert!(of(|count| 100.0 + count) < 0.7);
    }

    #[test]
    fn who_begins_alternates() {
        let asked = RefCell::new(String::new());
        let ask = |name: char, figure: f64| {
            asked.borrow_mut().push(name);
            figure
        };
        let measured = futures::executor::block_on(pairs(3, async || ask('a', 1.0), async || ask('b', 2.0)));
        assert_eq!((measured, asked.take()), (vec![(1.0, 2.0); 3], "abbaab".to_owned()));
    }
}
