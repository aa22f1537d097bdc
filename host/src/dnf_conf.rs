//! The proxy that dnf.conf(5) names.

use crate::ini::sections;
use crate::network::Proxy;
use crate::root::Root;

/// Where dnf keeps its settings.
pub const PATH: &str = "/etc/dnf/dnf.conf";

/// The proxy that dnf.conf names, with its login; the error says what is wrong with it, without its value.
pub fn proxy(root: &Root) -> Result<Option<Proxy>, String> {
    read_proxy(&root.read_text(PATH).map_err(|error| error.to_string())?.unwrap_or_default())
}

/// The same, from the text of dnf.conf.
pub fn read_proxy(text: &str) -> Result<Option<Proxy>, String> {
    let Some(main) = sections(text).into_iter().find(|section| section.id == "main") else { return Ok(None) };
    let value = |key: &str| main.get(key).filter(|value| !value.is_empty());
    let Some(text) = value("proxy").filter(|text| !text.eq_ignore_ascii_case("_none_")) else { return Ok(None) };
    let mut proxy = Proxy::parse(text).map_err(|why| format!("{PATH}: proxy: {why}"))?;
    if let Some(user) = value("proxy_username") {
        proxy.user = Some(user.to_owned());
        proxy.password = value("proxy_password").map(els_protocol::Secret::new);
    }
    Ok(Some(proxy))
}
