//! Prometheus' text form, version 0.0.4: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use crate::observe::{Kind, Number, Published};

/// Metrics as text. Samples of one name stand together, in whatever order they come.
#[derive(Default)]
pub struct Text {
    families: Vec<Family>,
    places: BTreeMap<String, usize>,
}

/// All samples of one name, under its help and type.
struct Family {
    head: String,
    samples: String,
}

impl Text {
    pub fn number(&mut self, prefix: &str, number: Number, labels: &[(&str, &str)]) {
        match number.kind {
            Kind::Total => {
                let name = format!("quorate_{prefix}_{}_total", number.name);
                let family = self.family(&name, number.help, "counter");
                sample(family, &name, labels, number.value);
            }
            Kind::Gauge => {
                self.gauge(&format!("{prefix}_{}", number.name), number.help, labels, number.value)
            }
        }
    }

    pub fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: impl Display) {
        let name = format!("quorate_{name}");
        sample(self.family(&name, help, "gauge"), &name, labels, value);
    }

    /// A number under the very name that another system's tools look for.
    pub fn foreign(&mut self, name: &str, help: &str, value: impl Display) {
        sample(self.family(name, help, "gauge"), name, &[], value);
    }

    /// A histogram as quantiles, in seconds.
    pub fn latency(&mut self, name: &str, help: &str, labels: &[(&str, &str)], latency: &Published) {
        let name = format!("quorate_{name}_seconds");
        let family = self.family(&name, help, "summary");
        let histogram = latency.read();
        let mut all = labels.to_vec();
        for (quantile, text) in [(0.5, "0.5"), (0.9, "0.9"), (0.99, "0.99"), (0.999, "0.999"), (1.0, "1")] {
            all.push(("quantile", text));
            sample(family, &name, &all, histogram.value_at_quantile(quantile) as f64 / 1e9);
            all.pop();
        }
        let sum: f64 =
            histogram.iter_recorded().map(|v| v.value_iterated_to() as f64 * v.count_at_value() as f64).sum();
        sample(family, &format!("{name}_sum"), labels, sum / 1e9);
        sample(family, &format!("{name}_count"), labels, histogram.len());
    }

    pub fn finish(self) -> String {
        self.families.into_iter().map(|family| family.head + &family.samples).collect()
    }

    fn family(&mut self, name: &str, help: &str, kind: &str) -> &mut Family {
        let place = *self.places.entry(name.to_owned()).or_insert(self.families.len());
        if place == self.families.len() {
            let head = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
            self.families.push(Family { head, samples: String::new() });
        }
        &mut self.families[place]
    }
}

fn sample(family: &mut Family, name: &str, labels: &[(&str, &str)], value: impl Display) {
    let out = &mut family.samples;
    out.push_str(name);
    for (n, (key, text)) in labels.iter().enumerate() {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        write!(out, "{}{key}=\"{text}\"", if n == 0 { '{' } else { ',' }).expect("a string takes all");
    }
    let end = if labels.is_empty() { "" } else { "}" };
    writeln!(out, "{end} {value}").expect("a string takes all");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Nanos;
    use crate::observe::Latency;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let mut text = Text::default();
        let number = Number { name: "parks", help: "Times.", kind: Kind::Total, value: 3 };
        text.number("loop", number, &[("loop", "a\"b")]);
        text.gauge("epoch", "Reign.", &[], 7);
        text.number("loop", Number { value: 4, ..number }, &[("loop", "c")]);
        let mut latency = Latency::default();
        latency.record_n(Nanos(2_000_000), 10);
        latency.publish(Nanos(1));
        text.latency("write", "Writes.", &[("door", "zk")], &latency.published());
        let text = text.finish();
        let wanted = "# HELP quorate_loop_parks_total Times.\n# TYPE quorate_loop_parks_total counter\n\
                      quorate_loop_parks_total{loop=\"a\\\"b\"} 3\nquorate_loop_parks_total{loop=\"c\"} 4\n\
                      # HELP quorate_epoch Reign.\n# TYPE quorate_epoch gauge\nquorate_epoch 7\n\
                      # HELP quorate_write_seconds Writes.\n# TYPE quorate_write_seconds summary\n";
        assert!(text.starts_with(wanted), "{text}");
        assert!(text.contains("quorate_write_seconds{door=\"zk\",quantile=\"0.99\"} 0.002"), "{text}");
        assert!(text.ends_with("quorate_write_seconds_count{door=\"zk\"} 10\n"), "{text}");
    }
}
