package wire

import (
	"cmp"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Limits of a record that the fleet takes. A journal takes any up to
// MaxRecord; a model with 80 labels, each measured, has 160 details.
const (
	MaxSent    = 64 << 10 // bytes
	MaxDetails = 512      // evidence and measurements together
)

// Fields that are counted without taking a record apart.
const (
	resultField       = 1 // of a Record
	evidenceField     = 10
	measurementsField = 11
	viewsField        = 31
	looksField        = 32
)

// DecodeSent is Decode for what a device sent to the fleet. What is beyond the
// limits is refused before it takes memory.
func DecodeSent(b []byte) (*Record, error) {
	if len(b) > MaxSent {
		return nil, fmt.Errorf("decode a record: it has %d bytes, the fleet takes %d", len(b), MaxSent)
	}
	n, views := details(b)
	if n > MaxDetails {
		return nil, fmt.Errorf("decode a record: it has %d pieces of evidence and measurements, the fleet takes %d", n, MaxDetails)
	}
	if views > MaxViews {
		return nil, fmt.Errorf("decode a record: it has %d views, the fleet takes %d", views, MaxViews)
	}
	r, err := Decode(b)
	if r.GetHole() != nil && len(b) > maxHoleBody {
		return nil, fmt.Errorf("decode a record: it is a hole with %d bytes, the fleet takes %d", len(b), maxHoleBody)
	}
	if err != nil {
		return r, err
	}
	if err := cmp.Or(r.GetResult().checkViews(), r.GetResult().checkLooks()); err != nil {
		return nil, fmt.Errorf("decode a record: %w", err)
	}
	return r, nil
}

// heavy reports whether a record takes more to take apart than its bytes let
// expect, or has more than so many.
func heavy(b []byte, most int) bool {
	n, views := details(b)
	return len(b) > most || n > MaxDetails || views > MaxViews
}

// details counts a record's evidence, measurements and looks, and its views, as far
// as it can be read.
func details(record []byte) (n, views int) {
	each(record, func(field protowire.Number, result []byte) {
		if field != resultField {
			return
		}
		each(result, func(field protowire.Number, _ []byte) {
			switch field {
			case evidenceField, measurementsField, looksField:
				n++
			case viewsField:
				views++
			}
		})
	})
	return n, views
}

// each goes through the fields of a message that have bytes.
func each(b []byte, do func(protowire.Number, []byte)) {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
			return
		}
		if kind == protowire.BytesType {
			v, _ := protowire.ConsumeBytes(b)
			do(field, v)
		}
		b = b[n:]
	}
}
