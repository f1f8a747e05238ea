package store

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

// TestHugeRecordsAreSetAside: the watermark passes what is too large or has
// too much evidence, and little of it is kept.
func TestHugeRecordsAreSetAside(t *testing.T) {
	s := fresh(t)
	enrol(t, s, "dev-a")
	inner := bytes.Repeat([]byte{10<<3 | 2, 0}, (wire.MaxRecord-16)/2) // evidence
	huge := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), inner)
	crowd := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), inner[:2*(wire.MaxDetails+1)])
	raw, err := wire.EncodeBatch(&wire.Batch{Epoch: 1, Items: []wire.Item{
		{First: 1, Last: 1, Body: huge}, {First: 2, Last: 2, Body: crowd}, record(3, vision.Pass),
	}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := wire.DecodeBatch(raw)
	if err != nil {
		t.Fatal(err)
	}
	take(t, s, []uint64{3}, Batch{Device: "dev-a", Batch: b})
	totals(t, s, "", Totals{Results: 1, Pass: 1, Unreadable: 2})
	var most int
	if err := s.writer.QueryRow(`SELECT max(length(body)) FROM unreadable`).Scan(&most); err != nil || most != keptBody {
		t.Errorf("%d bytes are kept, %v", most, err)
	}
}

// TestPagesAreBounded: a page of results that are as large as they may be has
// fewer of them, and the next page goes on.
func TestPagesAreBounded(t *testing.T) {
	s := fresh(t)
	enrol(t, s, "dev-a")
	const n = 300
	for seq := uint64(1); seq <= n; {
		b := batch("dev-a", 1)
		for range 50 {
			b.Batch.Items = append(b.Batch.Items, record(seq, vision.Pass, func(r *wire.Result) {
				r.Reason = strings.Repeat("r", 60<<10)
				for range 400 {
					r.Evidence = append(r.Evidence, &wire.Evidence{})
				}
			}))
			seq++
		}
		take(t, s, []uint64{seq - 1}, b)
	}
	for _, label := range []string{"", "bottle"} {
		got, pages := 0, 0
		q := Query{Limit: maxLimit, Label: label}
		for more := true; more; pages++ {
			var rows []Row
			var err error
			if rows, more, err = s.Results(t.Context(), q); err != nil || len(rows) == 0 {
				t.Fatalf("page %d: %d rows, %v", pages, len(rows), err)
			}
			if size := len(rows) * (60 << 10); size > pageBytes {
				t.Errorf("page %d has %d bytes", pages, size)
			}
			got += len(rows)
			q.Before = rows[len(rows)-1].ID
		}
		if got != n || pages < 4 {
			t.Errorf("label %q: %d rows in %d pages", label, got, pages)
		}
	}
}
