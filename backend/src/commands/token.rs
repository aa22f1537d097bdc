//! `token create`, `token list`, `token revoke`: tokens of the vendor's own systems.

use std::process::ExitCode;

use els_ledger::{NewToken, TokenId};
use els_protocol::{Secret, Sha256Hex, Timestamp};
use jiff::tz::TimeZone;
use serde::Serialize;

use super::context::{Context, Outcome};
use super::error::CommandError;
use super::key_create::product;
use crate::cli::CreateToken;
use crate::dates::{self, Edge};
use crate::output::{self, JsonList, Table};
use crate::secrets;

/// The token to make, all values checked.
pub(super) struct Order {
    new: NewToken,
    token: Secret,
    json: bool,
}

#[derive(Serialize)]
struct CreatedToken<'a> {
    token_id: TokenId,
    token: &'a str,
    expires: Timestamp,
}

/// Checks the options, and makes the token.
pub(super) fn prepare(
    options: &CreateToken,
    zone: &TimeZone,
    products: &[String],
    now: Timestamp,
) -> Result<Order, CommandError> {
    let expires = match &options.expires {
        Some(text) => dates::parse(text, zone, Edge::End).map_err(CommandError::Usage)?,
        None => now.plus_seconds(DEFAULT_DAYS * SECONDS_OF_A_DAY),
    };
    if expires <= now || expires > now.plus_seconds(MOST_DAYS * SECONDS_OF_A_DAY) {
        return Err(CommandError::Usage(format!("a token expires within {MOST_DAYS} days; check --expires")));
    }
    let named = options.product.iter().map(|id| product(Some(id), products)).collect::<Result<_, _>>()?;
    let token = secrets::new_admin_token()?;
    let new = NewToken {
        id: secrets::new_token_id()?,
        hash: Sha256Hex::of(token.expose().as_bytes()),
        name: options.name.clone(),
        scopes: options.scope.clone(),
        reseller: options.reseller.clone().filter(|name| !name.is_empty()),
        products: named,
        networks: options.from.iter().map(ToString::to_string).collect(),
        made_at: now,
        expires,
    };
    Ok(Order { new, token, json: options.output.json })
}

pub(super) async fn create(context: Context, order: Order) -> Outcome {
    let (id, expires) = (order.new.id, order.new.expires);
    context.store.create_token(order.new).await?;
    if order.json {
        output::json(&CreatedToken { token_id: id, token: order.token.expose(), expires })?;
    } else {
        output::line(format_args!("Token id  {id}"))?;
        output::line(format_args!("Token     {}", order.token.expose()))?;
        output::line(format_args!("Expires   {expires}"))?;
    }
    output::note("The token is shown only this once: the database has its hash.");
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn list(context: Context, json: bool) -> Outcome {
    let tokens = context.store.tokens().await?;
    if json {
        let mut document = JsonList::begin("tokens")?;
        for token in &tokens {
            document.item(token)?;
        }
        document.end()?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["TOKEN ID", "NAME", "SCOPES", "RESELLER", "EXPIRES", "LAST USED", "STATE"]);
    for token in tokens {
        let state = match token.revoked_at {
            Some(_) => "revoked",
            None if token.expires <= context.now => "expired",
            None => "valid",
        };
        table.row([
            token.token_id.to_string(),
            token.name,
            token.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" "),
            token.reseller.unwrap_or_default(),
            token.expires.to_string(),
            token.used_at.map(|time| time.to_string()).unwrap_or_default(),
            state.to_owned(),
        ]);
    }
    table.print()?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn revoke(context: Context, id: TokenId) -> Outcome {
    match context.store.revoke_token(context.now, id).await? {
        Some(_) => {
            output::line(format_args!("Token {id} is revoked."))?;
            Ok(ExitCode::SUCCESS)
        }
        None => {
            Err(CommandError::NotFound(format!("there is no token {id}; `els-backend token list` shows all tokens")))
        }
    }
}

const DEFAULT_DAYS: i64 = 90;
const MOST_DAYS: i64 = 366;
const SECONDS_OF_A_DAY: i64 = 24 * 3600;
