//! The page of metrics: names, labels, sums.

use super::*;

#[test]
fn what_may_be_counted_is_there_from_the_beginning() {
    let metrics = Metrics::new().unwrap();
    let page = String::from_utf8(metrics.page().unwrap()).unwrap();
    for line in [
        "sallyport_policy_reloads_total{result=\"ok\"} 0",
        "sallyport_policy_reloads_total{result=\"refused\"} 0",
        "sallyport_redactions_total{detector=\"pan\"} 0",
        "sallyport_redactions_total{detector=\"length\"} 0",
        "sallyport_decision_log_lost_total{what=\"closes\"} 0",
    ] {
        assert!(page.lines().any(|found| found == line), "`{line}` in\n{page}");
    }
}

#[test]
fn each_handle_has_its_own_label() {
    let metrics = Metrics::new().unwrap();
    for result in LookupResult::ALL {
        metrics.dns_lookups(result).inc();
    }
    for detector in Detector::ALL {
        metrics.redactions(detector).inc_by(2);
    }
    let page = String::from_utf8(metrics.page().unwrap()).unwrap();
    for line in LookupResult::ALL
        .map(|result| format!("sallyport_dns_lookups_total{{result=\"{}\"}} 1", result.as_str()))
        .into_iter()
        .chain(Detector::ALL.map(|d| format!("sallyport_redactions_total{{detector=\"{}\"}} 2", d.name())))
    {
        assert!(page.lines().any(|found| found == line), "`{line}` in\n{page}");
    }
    metrics.dns_lookups(LookupResult::TimedOut).inc();
    metrics.redactions(Detector::TooLong).inc();
    let page = String::from_utf8(metrics.page().unwrap()).unwrap();
    for line in
        ["sallyport_dns_lookups_total{result=\"timeout\"} 2", "sallyport_redactions_total{detector=\"length\"} 3"]
    {
        assert!(page.lines().any(|found| found == line), "`{line}` in\n{page}");
    }
}

#[test]
fn lost_records_are_counted_by_what_they_were() {
    let log = Metrics::new().unwrap().log;
    log.count_lost(Unwritten { withdrawn: 1, refusals: 2, closes: 3, others: 4 });
    let counts = LogMetrics::LOST.map(|what| (what, log.lost.with_label_values(&[what]).get()));
    assert_eq!(counts, [("withdrawn", 1), ("refusals", 2), ("closes", 3), ("others", 4)]);
}
