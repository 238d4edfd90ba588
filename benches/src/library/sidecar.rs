//! XMP sidecars and develop settings: mostly alike, with values that vary.

use std::fmt::Write;

use super::date::Moment;
use super::exif;
use super::rng::Rng;

/// Settings that a raw developer always writes, even if they were not changed.
const SETTINGS: &[&str] = &[
    "Temperature",
    "Tint",
    "Exposure2012",
    "Contrast2012",
    "Highlights2012",
    "Shadows2012",
    "Whites2012",
    "Blacks2012",
    "Texture",
    "Clarity2012",
    "Dehaze",
    "Vibrance",
    "Saturation",
    "ParametricShadows",
    "ParametricDarks",
    "ParametricLights",
    "ParametricHighlights",
    "ParametricShadowSplit",
    "ParametricMidtoneSplit",
    "ParametricHighlightSplit",
    "Sharpness",
    "SharpenRadius",
    "SharpenDetail",
    "SharpenEdgeMasking",
    "LuminanceSmoothing",
    "ColorNoiseReduction",
    "ColorNoiseReductionDetail",
    "ColorNoiseReductionSmoothness",
    "HueAdjustmentRed",
    "HueAdjustmentOrange",
    "HueAdjustmentYellow",
    "HueAdjustmentGreen",
    "HueAdjustmentAqua",
    "HueAdjustmentBlue",
    "HueAdjustmentPurple",
    "HueAdjustmentMagenta",
    "SaturationAdjustmentRed",
    "SaturationAdjustmentOrange",
    "SaturationAdjustmentYellow",
    "SaturationAdjustmentGreen",
    "SaturationAdjustmentAqua",
    "SaturationAdjustmentBlue",
    "LuminanceAdjustmentRed",
    "LuminanceAdjustmentOrange",
    "LuminanceAdjustmentYellow",
    "LuminanceAdjustmentGreen",
    "LuminanceAdjustmentAqua",
    "LuminanceAdjustmentBlue",
    "SplitToningShadowHue",
    "SplitToningShadowSaturation",
    "SplitToningHighlightHue",
    "ColorGradeMidtoneHue",
    "ColorGradeMidtoneSat",
    "ColorGradeGlobalHue",
    "AutoLateralCA",
    "LensProfileEnable",
    "LensManualDistortionAmount",
    "VignetteAmount",
    "DefringePurpleAmount",
    "PerspectiveVertical",
    "PerspectiveHorizontal",
    "PerspectiveRotate",
    "PerspectiveScale",
    "GrainAmount",
    "PostCropVignetteAmount",
    "ShadowTint",
    "RedHue",
    "GreenHue",
    "BlueHue",
];

const KEYWORDS: &[&str] = &[
    "wedding",
    "portrait",
    "ceremony",
    "landscape",
    "evening",
    "harbour",
    "family",
    "detail",
    "black and white",
    "client selection",
    "print",
    "documentary",
    "studio",
    "street",
];

const EVENTS: &[&str] = &["saved", "derived", "converted", "edited"];

/// XMP of about `len` bytes (at least some 900) for the frame `name`.
pub fn text(rng: &mut Rng, name: &str, taken: Moment, len: usize) -> String {
    let mut xmp = String::with_capacity(len + 256);
    head(&mut xmp, rng, name, taken);
    for setting in SETTINGS {
        if xmp.len() + 400 > len {
            break;
        }
        let value = setting_value(rng);
        put(&mut xmp, format_args!("   crs:{setting}=\"{value}\"\n"));
    }
    xmp.push_str("   crs:HasSettings=\"True\">\n   <dc:subject>\n    <rdf:Bag>\n");
    for _ in 0..rng.range(1, 4) {
        let word = rng.pick(KEYWORDS);
        put(&mut xmp, format_args!("     <rdf:li>{word}</rdf:li>\n"));
    }
    xmp.push_str("    </rdf:Bag>\n   </dc:subject>\n   <xmpMM:History>\n    <rdf:Seq>\n");
    let mut when = taken.0;
    while xmp.len() + 330 < len {
        when += rng.range(60, 90_000) as i64;
        let event = rng.pick(EVENTS);
        let id = uuid(rng);
        let when = Moment(when);
        put(
            &mut xmp,
            format_args!(
                "     <rdf:li stEvt:action=\"{event}\" stEvt:instanceID=\"xmp.iid:{id}\" \
                 stEvt:when=\"{when}+02:00\" stEvt:changed=\"/metadata\"/>\n"
            ),
        );
    }
    xmp.push_str(
        "    </rdf:Seq>\n   </xmpMM:History>\n  </rdf:Description>\n \
         </rdf:RDF>\n</x:xmpmeta>\n<?xpacket end=\"w\"?>\n",
    );
    xmp
}

fn head(xmp: &mut String, rng: &mut Rng, name: &str, taken: Moment) {
    let (make, model) = (exif::CAMERA_MAKE, exif::CAMERA_MODEL);
    let rating = rng.below(6);
    let id = uuid(rng);
    put(
        xmp,
        format_args!(
            "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n\
             <x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n \
             <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n  \
             <rdf:Description rdf:about=\"{name}\"\n    \
             xmlns:crs=\"http://ns.adobe.com/camera-raw-settings/1.0/\"\n   \
             tiff:Make=\"{make}\" tiff:Model=\"{model}\"\n   \
             exif:DateTimeOriginal=\"{taken}\" xmp:Rating=\"{rating}\"\n   \
             xmpMM:DocumentID=\"xmp.did:{id}\"\n"
        ),
    );
}

/// Develop settings in the catalog's own notation, about 1.9 KB.
pub fn settings(rng: &mut Rng) -> String {
    let mut text = String::with_capacity(2100);
    text.push_str("s = { ");
    for setting in SETTINGS {
        let value = setting_value(rng);
        put(&mut text, format_args!("{setting} = {value},\n"));
    }
    text.push_str("ProcessVersion = \"15.4\" }");
    text
}

/// Three of four settings keep the value of the preset.
fn setting_value(rng: &mut Rng) -> i64 {
    match rng.below(4) {
        0 => rng.below(201) as i64 - 100,
        _ => 0,
    }
}

pub fn uuid(rng: &mut Rng) -> String {
    let (a, b) = (rng.next_u64(), rng.next_u64());
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xffff,
        b >> 48,
        b & 0xffff_ffff_ffff
    )
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a `String` has no way to fail, so there is no error to pass on.
    let _ = text.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::date::FIRST_SHOOT;

    #[test]
    fn lengths_are_about_as_wished() {
        let mut rng = Rng::new(9);
        for len in [1000, 2500, 4000, 6000, 8000] {
            let text = text(&mut rng, "IMG_0001", FIRST_SHOOT, len);
            assert!(text.len().abs_diff(len) < 350, "{} for {len}", text.len());
        }
    }
}
