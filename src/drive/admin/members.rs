//! Changes of members as operators ask for them, and members as they are shown.

use std::net::SocketAddr;

use serde_json::json;

use crate::base::{Incarnation, NodeId};
use crate::replica::{Member, Role, Step};

pub fn id(text: &str) -> Result<NodeId, String> {
    match text.parse() {
        Ok(id @ 1..) => Ok(NodeId(id)),
        _ => Err("a member's id is 1 to 255".into()),
    }
}

/// `/member/ID?address=A&role=R&incarnation=I`: this member, in place of whoever has its id. It learns first.
pub fn change<'a>(text: &str, field: impl Fn(&str) -> Option<&'a str>) -> Result<Vec<Step>, String> {
    let id = id(text)?;
    let votes = match field("role") {
        Some("learner") => false,
        Some("voter") | None => true,
        Some(_) => return Err("role: voter or learner".into()),
    };
    let incarnation = match field("incarnation") {
        None => Incarnation::OPEN,
        Some(text) => u64::from_str_radix(text, 16)
            .map(Incarnation)
            .map_err(|_| "incarnation: 16 hexadecimal digits, as `quorate format` printed them")?,
    };
    let mut steps = match (field("address"), field("role")) {
        (None, Some("voter")) => Vec::new(),
        (address, _) => {
            vec![Step::Learner { id, incarnation, address: checked(address.unwrap_or_default())? }]
        }
    };
    steps.extend(votes.then_some(Step::Voter { id }));
    Ok(steps)
}

/// `/member?add=ID=ADDRESS&learn=ID=ADDRESS&promote=ID&remove=ID`, as many as wanted, done in this order.
pub fn plan(query: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (what, of) = pair.split_once('=').unwrap_or((pair, ""));
        match what {
            "add" | "learn" => {
                let (text, address) = of.split_once('=').ok_or(format!("{what}: ID=ADDRESS:PORT"))?;
                let (id, address) = (id(text)?, checked(address)?);
                steps.push(Step::Learner { id, incarnation: Incarnation::OPEN, address });
                steps.extend((what == "add").then_some(Step::Voter { id }));
            }
            "promote" => steps.push(Step::Voter { id: id(of)? }),
            "remove" => steps.push(Step::Remove { id: id(of)? }),
            _ => return Err(format!("{what}: a plan is made of add, learn, promote and remove")),
        }
    }
    if steps.is_empty() {
        return Err("what is to be changed? For example add=4=10.0.0.4:7400&remove=1".into());
    }
    Ok(steps)
}

fn checked(address: &str) -> Result<String, String> {
    match address.parse::<SocketAddr>() {
        Ok(_) => Ok(address.to_owned()),
        Err(_) => Err("address: the member's peer address, as ADDRESS:PORT".into()),
    }
}

pub fn shown(member: &Member) -> serde_json::Value {
    let role = if member.role == Role::Voter { "voter" } else { "learner" };
    let incarnation = match member.incarnation {
        Incarnation::OPEN => serde_json::Value::Null,
        incarnation => incarnation.to_string().into(),
    };
    json!({ "id": member.id.0, "role": role, "address": member.address, "incarnation": incarnation })
}

pub fn planned(step: &Step) -> serde_json::Value {
    match step {
        Step::Learner { id, address, .. } => json!({ "learn": id.0, "address": address }),
        Step::Voter { id } => json!({ "promote": id.0 }),
        Step::Remove { id } => json!({ "remove": id.0 }),
    }
}
