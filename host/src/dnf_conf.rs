//! The proxy that dnf.conf(5) names.

use els_protocol::Secret;

use crate::failure::{Failure, ProxyFault, Result};
use crate::ini::sections;
use crate::network::{Proxy, Source};
use crate::root::Root;

pub use crate::network::DNF_CONF as PATH;

/// The proxy that dnf.conf names, with its login.
pub fn proxy(root: &Root) -> Result<Option<Proxy>> {
    let text = root.read_text(PATH).map_err(Failure::Named)?.unwrap_or_default();
    read_proxy(&text).map_err(|fault| Source::DnfConf.fault(fault))
}

/// The same, from the text of dnf.conf.
pub fn read_proxy(text: &str) -> std::result::Result<Option<Proxy>, ProxyFault> {
    let Some(main) = sections(text).into_iter().find(|section| section.id == "main") else { return Ok(None) };
    let value = |key: &str| main.get(key).filter(|value| !value.is_empty());
    let Some(text) = value("proxy").filter(|text| !text.eq_ignore_ascii_case("_none_")) else { return Ok(None) };
    let mut proxy = Proxy::parse(text)?;
    if let Some(user) = value("proxy_username") {
        proxy.user = Some(user.to_owned());
        proxy.password = value("proxy_password").map(Secret::new);
    }
    Ok(Some(proxy))
}
