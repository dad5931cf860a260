//! The [text format](https://prometheus.io/docs/instrumenting/exposition_formats/) of Prometheus.

use std::fmt::Write as _;

use hob_primitive::Family;
use metrics_exporter_prometheus::formatting::{sanitize_label_value, write_help_line, write_type_line};

/// Numbers of one family that are told; a homelab with more of something is watched by its sum.
const SAMPLES_MAX: usize = 1_000;

/// Appends `families` to `text`. One without numbers is left out.
pub(super) fn write(text: &mut String, families: &[Family]) {
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        write_help_line(text, family.name, None, None, family.help);
        write_type_line(text, family.name, None, None, family.kind.as_str());
        for sample in family.samples.iter().take(SAMPLES_MAX) {
            text.push_str(family.name);
            for (index, (label, value)) in sample.labels.iter().enumerate() {
                let before = if index == 0 { '{' } else { ',' };
                let _ = write!(text, "{before}{label}=\"{}\"", sanitize_label_value(value));
            }
            let after = if sample.labels.is_empty() { "" } else { "}" };
            let _ = writeln!(text, "{after} {}", sample.value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_written_with_its_labels_escaped() {
        let family = Family::gauge("hob_disk_free_bytes", "What is free")
            .with([([("path", "/mnt/\"a\"\\b\n".to_owned()), ("device", "sda".to_owned())], 1.5e9)]);
        let mut text = String::new();
        write(&mut text, &[family, Family::counter("hob_nothing_total", "Nothing")]);
        assert_eq!(
            text,
            "# HELP hob_disk_free_bytes What is free\n# TYPE hob_disk_free_bytes gauge\n\
             hob_disk_free_bytes{path=\"/mnt/\\\"a\\\"\\\\b\\n\",device=\"sda\"} 1500000000\n"
        );
    }

    #[test]
    fn a_family_has_only_so_many_numbers() {
        let many = (0..SAMPLES_MAX + 1).map(|n| ([("n", n.to_string())], 1.0));
        let mut text = String::new();
        write(&mut text, &[Family::gauge("hob_many", "Many").with(many)]);
        assert_eq!(text.lines().count(), 2 + SAMPLES_MAX);
    }
}
