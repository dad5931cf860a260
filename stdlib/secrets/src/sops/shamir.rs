//! Shamir's secret sharing over GF(2^8), as key groups of SOPS use it: a share is the values of the polynomials, one
//! per byte of the secret, followed by the place where they were taken (the form of HashiCorp Vault).
//!
//! No step depends on secret bytes, neither in its time nor in what memory it reads.

use zeroize::Zeroizing;

use super::cipher::random;
use crate::Plain;
use crate::error::{Error, Result};

/// The most shares: places are the non-zero bytes.
pub(super) const SHARES_MAX: usize = 255;

/// A product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1.
fn multiply(a: u8, b: u8) -> u8 {
    (0..8).rev().fold(0u8, |product, bit| {
        let reduced = (product << 1) ^ ((product >> 7).wrapping_neg() & 0x1b);
        reduced ^ (((b >> bit) & 1).wrapping_neg() & a)
    })
}

/// The inverse, a^254; that of 0 is 0.
fn invert(a: u8) -> u8 {
    (0..7)
        .fold((1, a), |(product, power), _| {
            let power = multiply(power, power);
            (multiply(product, power), power)
        })
        .0
}

/// Splits `secret` into `count` shares, of which any `threshold` give it back.
///
/// # Errors
/// When the threshold is below 2 or above the count.
pub(super) fn split(secret: &[u8], count: usize, threshold: usize) -> Result<Vec<Plain>> {
    if threshold < 2 || threshold > count || count > SHARES_MAX {
        return Err(Error::rules(format!("a threshold of {threshold} does not fit {count} key groups"))
            .hint(format!(
                "it is at least 2 and at most the number of groups, which is at most {SHARES_MAX}"
            )));
    }
    let mut shares: Vec<Plain> = (1..=count)
        .map(|place| {
            let mut share = Zeroizing::new(vec![0; secret.len() + 1]);
            share[secret.len()] = u8::try_from(place).expect("there are at most 255 shares");
            share
        })
        .collect();
    let mut coefficients = Zeroizing::new(vec![0; threshold]);
    for (at, &byte) in secret.iter().enumerate() {
        random(&mut coefficients[1..]);
        coefficients[0] = byte;
        for share in &mut shares {
            let place = share[secret.len()];
            share[at] = coefficients.iter().rev().fold(0, |sum, &factor| multiply(sum, place) ^ factor);
        }
    }
    Ok(shares)
}

/// The secret of these shares. Fewer than the threshold give another one, which nothing here can tell.
///
/// # Errors
/// When there are fewer than two, or they do not belong together.
pub(super) fn combine(shares: &[Plain]) -> Result<Plain> {
    let broken = || Error::malformed("the shares of the data key do not belong together");
    let length = shares.first().map_or(0, |share| share.len());
    if shares.len() < 2 || length < 2 || shares.iter().any(|share| share.len() != length) {
        return Err(broken());
    }
    let places: Vec<u8> = shares.iter().map(|share| share[length - 1]).collect();
    if (0..places.len()).any(|at| places[at] == 0 || places[..at].contains(&places[at])) {
        return Err(broken());
    }
    // Lagrange's polynomials at 0; addition and subtraction are both exclusive or.
    let weights: Vec<u8> = places
        .iter()
        .map(|&own| {
            let others = places.iter().filter(|&&place| place != own);
            others.fold(1, |weight, &place| multiply(weight, multiply(place, invert(place ^ own))))
        })
        .collect();
    let byte = |at: usize| {
        shares.iter().zip(&weights).fold(0, |sum, (share, &weight)| sum ^ multiply(share[at], weight))
    };
    Ok(Zeroizing::new((0..length - 1).map(byte).collect()))
}
