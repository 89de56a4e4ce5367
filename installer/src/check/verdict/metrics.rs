//! Metrics as Prometheus reads them: single numbers out of the text.

/// The sum of a metric's samples that have these labels; none where there is no such sample.
pub(super) fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let mut total = None;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let (family, rest) = series.split_once('{').unwrap_or((series, ""));
        let rest = format!(",{rest}");
        let has = |(key, value): &(&str, &str)| rest.contains(&format!(",{key}=\"{value}\""));
        if family == name && labels.iter().all(has) {
            *total.get_or_insert(0.0) += value.parse::<f64>().unwrap_or_default();
        }
    }
    total
}

/// Nought where there is no such sample.
pub(super) fn count(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    sum(text, name, labels).unwrap_or_default()
}
