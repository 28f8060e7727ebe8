//! The macro that makes reading and writing of a list of fields.

/// Structures of a message: fields in the order of the wire. A field is there in all versions, or
/// has a default and the versions that it is there in; tagged fields follow, by their tags.
///
/// A field that a version does not have is read as its default, and not written. A tagged field is
/// not written either while it has its default: it would mean the same, and librdkafka before 2.2
/// reads on at the wrong place behind one.
macro_rules! message {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])*
               pub $field:ident: $type:ty $(= $default:expr, $versions:expr)?; )*
            $( tagged { $( $(#[$tagged_meta:meta])*
               $tag:literal: pub $tagged:ident: $tagged_type:ty
                   = $tagged_default:expr, $tagged_versions:expr; )* } )?
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $type, )*
            $( $( $(#[$tagged_meta])* pub $tagged: $tagged_type, )* )?
        }

        impl Default for $name {
            fn default() -> Self {
                $name {
                    $( $field: $crate::wire::message::or_default!($($default)?), )*
                    $( $( $tagged: $tagged_default, )* )?
                }
            }
        }

        #[cfg(test)]
        impl $crate::wire::tests::Sample for $name {
            fn sample(luck: &mut $crate::wire::tests::Luck) -> Self {
                $name {
                    $( $field: $crate::wire::tests::Sample::sample(luck), )*
                    $( $( $tagged: $crate::wire::tests::Sample::sample(luck), )* )?
                }
            }
        }

        impl $crate::wire::Wire for $name {
            const MIN_LEN: usize = 0 $( + $crate::wire::message::min_len!(
                $type $(, $versions)?) )*;

            fn read(
                from: &mut $crate::wire::MessageReader<'_>,
            ) -> Result<Self, $crate::codec::CodecError> {
                #[allow(unused_mut)] // not all have tagged fields
                let mut this = $name {
                    $( $field: $crate::wire::message::if_there!(
                        from.version(), $crate::wire::Wire::read(from)? $(, $default, $versions)?
                    ), )*
                    $( $( $tagged: $tagged_default, )* )?
                };
                from.tagged(|_tag, _field| {
                    $( $( if _tag == $tag && ($tagged_versions).contains(&_field.version()) {
                        this.$tagged = $crate::wire::Wire::read(_field)?;
                    } )* )?
                    Ok(())
                })?;
                Ok(this)
            }

            fn write(&self, to: &mut $crate::wire::MessageWriter) {
                $( $crate::wire::message::if_there!(
                    to.version(), $crate::wire::Wire::write(&self.$field, to) $(, (), $versions)?
                ); )*
                if to.is_flexible() {
                    #[allow(unused_mut)] // as above
                    let mut tagged = Vec::new();
                    $( $( if ($tagged_versions).contains(&to.version())
                        && self.$tagged != $tagged_default
                    {
                        let mut field = to.part();
                        $crate::wire::Wire::write(&self.$tagged, &mut field);
                        tagged.push(($tag, field));
                    } )* )?
                    to.put_tagged(tagged);
                }
            }
        }
    )*};
}

/// What a field is that is not there.
macro_rules! or_default {
    () => {
        Default::default()
    };
    ($default:expr) => {
        $default
    };
}

/// What a field takes at least, which is nothing if some versions do not have it.
macro_rules! min_len {
    ($type:ty) => {
        <$type as $crate::wire::Wire>::MIN_LEN
    };
    ($type:ty, $versions:expr) => {
        0
    };
}

/// Of requests whose answers have a `throttle_time_ms`: the versions in which the broker answers at
/// once and relies on the client to wait (KIP-219). In those before, it has waited already.
macro_rules! throttled {
    ($versions:expr) => {
        fn throttle(answer: &Self::Response, version: i16) -> std::time::Duration {
            let ms = answer.throttle_time_ms.max(0).unsigned_abs();
            let is_ours = ($versions).contains(&version);
            std::time::Duration::from_millis(if is_ours { ms.into() } else { 0 })
        }
    };
}

/// The first if the version has the field, else the second.
macro_rules! if_there {
    ($version:expr, $there:expr) => {
        $there
    };
    ($version:expr, $there:expr, $default:expr, $versions:expr) => {
        if ($versions).contains(&$version) { $there } else { $default }
    };
}

pub(super) use {if_there, message, min_len, or_default, throttled};
