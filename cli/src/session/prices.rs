//! Finds the prices of a location.

use icecore_engine::ops::cost::Prices;
use icecore_engine::store::{Location, Provider, StoreOptions};

use super::Session;
use crate::config;
use crate::failure::Failure;
use crate::units::show;

impl Session {
    /// Returns the prices of the store; `None` if they are not known, or if the store costs
    /// nothing.
    pub fn prices(&self) -> Result<Option<Prices>, Failure> {
        let location = self.location()?;
        match location.is_remote() {
            true => self.prices_at(&location, &self.store_options(&location)?),
            false => Ok(None),
        }
    }

    /// Returns the prices of a location; `None` as for [`prices`](Self::prices).
    pub fn prices_at(
        &self,
        location: &Location,
        options: &StoreOptions,
    ) -> Result<Option<Prices>, Failure> {
        if !location.is_remote() {
            return Ok(None);
        }
        let region = config::region(options);
        if let Some(path) = &self.prices {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::file("read the prices", path, &error))?;
            return Prices::parse(&text, region.as_deref()).map(Some).map_err(|error| {
                Failure::usage(
                    format!("{}: {error}", show(path)),
                    "the file must have the form of engine/src/ops/cost/prices.toml in the source code",
                )
            });
        }
        let known = location.provider() == Some(Provider::S3);
        let prices = known.then(|| Prices::built_in(region.as_deref()));
        if let (Some(prices), Some(region)) = (&prices, region)
            && prices.region != region
        {
            static ONCE: std::sync::Once = std::sync::Once::new();
            ONCE.call_once(|| {
                self.report.note(&format!(
                    "the prices of {region} are not known, so those of {} are shown (--prices FILE sets others)",
                    prices.region
                ));
            });
        }
        Ok(prices)
    }
}
