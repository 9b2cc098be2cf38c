//! The name that was probably meant.

/// The known name at the smallest edit distance, when it is near enough to be a typo: at most a third of the letters
/// (and at least 2) inserted, deleted, replaced or swapped with their neighbour. Ties go to the earlier name.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_lowercase().replace('-', "_");
    let limit = (name.chars().count() / 3).max(2);
    let plain = |known: &str| known.to_lowercase().replace('-', "_");
    let (distance, best) = known.iter().map(|&k| (edit_distance(&name, &plain(k)), k)).min_by_key(|&(d, _)| d)?;
    (distance <= limit).then_some(best)
}

/// Fewest insertions, deletions, replacements and swaps of neighbours that turn one word into the other (optimal string
/// alignment).
fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    // cost[i][j]: from the first i letters of a to the first j of b.
    let mut cost = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            cost[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replace = cost[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = replace.min(cost[i - 1][j] + 1).min(cost[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(cost[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    cost[a.len()][b.len()]
}
