//! The proxy that dnf.conf(5) names.

use els_protocol::Secret;

use crate::failure::{Failure, ProxyFault, Result};
use crate::ini::sections;
use crate::network::{Choice, Proxy, Source};
use crate::root::Root;

pub use crate::network::DNF_CONF as PATH;

/// The proxy that dnf.conf names, with its login.
pub fn proxy(root: &Root) -> Result<Option<Choice>> {
    let text = root.read_text(PATH).map_err(Failure::Named)?.unwrap_or_default();
    read_proxy(&text).map_err(|fault| Source::DnfConf.fault(fault))
}

/// The same, from the text of dnf.conf.
pub fn read_proxy(text: &str) -> std::result::Result<Option<Choice>, ProxyFault> {
    let Some(main) = sections(text).into_iter().find(|section| section.id == "main") else { return Ok(None) };
    let value = |key: &str| main.get(key).filter(|value| !value.is_empty());
    let Some(text) = value("proxy") else { return Ok(None) };
    if text.eq_ignore_ascii_case("_none_") {
        return Ok(Some(Choice::Direct));
    }
    let mut proxy = Proxy::parse(text)?;
    if let Some(user) = value("proxy_username") {
        proxy.user = Some(user.to_owned());
        proxy.password = value("proxy_password").map(Secret::new);
    }
    Ok(Some(Choice::Through(proxy)))
}
