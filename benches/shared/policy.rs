//! A policy of many customers, as a file says it.
//! Not here: loading it.

/// `names` exact names for clients of `subnet`, a hundred a rule; each rule ends in `terms`, such as `, ports: [8443]`.
pub fn policy(names: usize, subnet: &str, terms: &str) -> String {
    let mut text = format!("version: 1\nsources: [{{name: load, subnets: [{subnet}]}}]\nrules:\n");
    for rule in 0..names.div_ceil(100) {
        let hosts: Vec<String> = (0..100).map(|host| format!("h{host}.c{rule}.customer.example")).collect();
        text.push_str(&format!(
            "  - {{id: c{rule}/https, customer: c{rule}, sources: [load], hosts: [{}]{terms}}}\n",
            hosts.join(", ")
        ));
    }
    text
}
