package e2e

import (
	"bytes"
	"database/sql"
	"errors"
	"math"
	"net/url"
	"path/filepath"
	"testing"

	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/sync/wire"
)

// held is what the fleet's database has of one epoch of a device, as it was
// stored, in the order of arrival.
type held struct {
	epoch      uint64
	watermark  uint64
	rows       []heldRow
	holes      []heldHole
	orphans    map[uint64][]byte // amendments of what is in holes, by their own number
	unreadable int
	counted    verdicts // by the fleet itself, as told
}

type heldRow struct {
	seq        uint64
	verdict    wire.Verdict // as told
	body, told []byte
}

type heldHole struct {
	first, last uint64
	counts      verdicts
	reason      string
}

// verdicts count results, and records that are none.
type verdicts struct{ pass, fail, none, other uint64 }

func (v *verdicts) add(of wire.Verdict) {
	switch of {
	case wire.Verdict_VERDICT_PASS:
		v.pass++
	case wire.Verdict_VERDICT_FAIL:
		v.fail++
	default:
		v.none++
	}
}

// database is the fleet's file, for looking. The service may run.
func (c *central) database() *sql.DB {
	c.t.Helper()
	q := url.Values{"_pragma": {"query_only(1)", "busy_timeout(10000)"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: filepath.Join(c.dir, "fleet.db"), RawQuery: q.Encode()}).String())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = db.Close() }) // it only looked
	return db
}

// stored is how many records the fleet has, holes included.
func stored(t testing.TB, db *sql.DB, device string) (n uint64) {
	t.Helper()
	err := db.QueryRow(`SELECT coalesce(sum(e.watermark), 0) FROM epoch e JOIN device d ON d.key = e.device WHERE d.id = ? OR ?1 = ''`, device).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// has reads what the fleet has of a device, by epoch.
func (c *central) has(device string) map[uint64]*held {
	c.t.Helper()
	db := c.database()
	defer db.Close()
	var sound string
	if err := db.QueryRow(`PRAGMA integrity_check`).Scan(&sound); err != nil || sound != "ok" {
		c.t.Fatalf("the fleet's database: %s, %v", sound, err)
	}
	all, keys := map[uint64]*held{}, map[int64]*held{}
	each(c.t, db, `SELECT e.key, e.epoch, e.watermark, e.unreadable, e.pass, e.fail, e.none FROM epoch e JOIN device d ON d.key = e.device WHERE d.id = ?`, device, func(scan func(...any) error) error {
		var key, epoch int64
		h := &held{orphans: map[uint64][]byte{}}
		err := scan(&key, &epoch, &h.watermark, &h.unreadable, &h.counted.pass, &h.counted.fail, &h.counted.none)
		h.epoch = uint64(epoch)
		all[h.epoch], keys[key] = h, h
		return err
	})
	each(c.t, db, `SELECT r.epoch, r.seq, r.verdict, r.body, r.told FROM result r JOIN device d ON d.key = r.device WHERE d.id = ? ORDER BY r.id`, device, func(scan func(...any) error) error {
		var key int64
		var r heldRow
		err := scan(&key, &r.seq, &r.verdict, &r.body, &r.told)
		keys[key].rows = append(keys[key].rows, r)
		return err
	})
	each(c.t, db, `SELECT h.epoch, h.first, h.last, h.pass, h.fail, h.none, h.other, h.reason FROM hole h JOIN device d ON d.key = h.device WHERE d.id = ? ORDER BY h.id`, device, func(scan func(...any) error) error {
		var key int64
		var h heldHole
		err := scan(&key, &h.first, &h.last, &h.counts.pass, &h.counts.fail, &h.counts.none, &h.counts.other, &h.reason)
		keys[key].holes = append(keys[key].holes, h)
		return err
	})
	each(c.t, db, `SELECT a.epoch, a.seq, a.body FROM amendment a JOIN epoch e ON e.key = a.epoch JOIN device d ON d.key = e.device WHERE d.id = ?`, device, func(scan func(...any) error) error {
		var key int64
		var seq uint64
		var body []byte
		err := scan(&key, &seq, &body)
		keys[key].orphans[seq] = body
		return err
	})
	return all
}

func each(t testing.TB, db *sql.DB, query, device string, row func(scan func(...any) error) error) {
	t.Helper()
	rows, err := db.Query(query, device)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err = row(rows.Scan); err != nil {
			break
		}
	}
	if err := errors.Join(err, rows.Err()); err != nil {
		t.Fatal(err)
	}
}

// audit wants what the fleet has of an epoch to be what was made: every number
// from first to last once, in order and as it was written, or in one hole that
// counts it.
func (h *held) audit(t testing.TB, r recipe, first, last uint64) {
	t.Helper()
	if h == nil {
		t.Fatalf("%s: the fleet doesn't know the epoch", r.Name)
	}
	wrong := 0
	say := func(format string, args ...any) {
		if wrong++; wrong <= 5 {
			t.Errorf(r.Name+": "+format, args...)
		}
	}
	if h.watermark != last || h.unreadable != 0 {
		say("the fleet is at %d of %d, with %d unreadable", h.watermark, last, h.unreadable)
	}
	rows, holes := h.rows, h.holes
	var told verdicts
	for seq := first; seq <= last && wrong < 5; seq++ {
		if len(holes) > 0 && holes[0].first == seq {
			holes[0].audit(say, r)
			seq = holes[0].last
			holes = holes[1:]
			continue
		}
		body, amends := r.record(seq)
		switch {
		case amends > 0: // looked at with its result
			if h.holds(amends) && !bytes.Equal(h.orphans[seq], body) {
				say("amendment %d of what is in a hole isn't there", seq)
			}
		case len(rows) == 0:
			say("there are no results from %d on", seq)
			return
		case rows[0].seq != seq || !bytes.Equal(rows[0].body, body):
			say("in place of result %d there is %d: lost, twice, out of order or changed", seq, rows[0].seq)
		default:
			var amendment []byte
			if late, of := r.record(seq + 1); of == seq && seq < last && !h.holds(seq+1) {
				amendment = late
			}
			if !bytes.Equal(rows[0].told, amendment) {
				say("result %d: amended by %x, want %x", seq, rows[0].told, amendment)
			}
			told.add(rows[0].verdict)
			rows = rows[1:]
		}
	}
	if len(rows)+len(holes) > 0 && wrong == 0 {
		say("%d results and %d holes too many", len(rows), len(holes))
	}
	if told != h.counted {
		say("the fleet counts %+v, its results are %+v", h.counted, told)
	}
}

// holds reports whether a hole stands for that number.
func (h *held) holds(seq uint64) bool {
	for _, hole := range h.holes {
		if hole.first <= seq && seq <= hole.last {
			return true
		}
	}
	return false
}

// audit wants the hole's counts to be those of what it stands for.
func (hole heldHole) audit(say func(string, ...any), r recipe) {
	if hole.reason == wire.HoleEarlierEpoch {
		return
	}
	if want := r.count(hole.first, hole.last); hole.counts != want || hole.reason != wire.HoleRetention {
		say("the hole from %d to %d counts %+v (%s), want %+v", hole.first, hole.last, hole.counts, hole.reason, want)
	}
}

// count is of the records from first to last, as they were decided.
func (r recipe) count(first, last uint64) (n verdicts) {
	for seq := first; seq <= last; seq++ {
		if _, amends := r.record(seq); amends > 0 {
			n.other++
		} else {
			n.add(r.result(seq).GetVerdict())
		}
	}
	return n
}

// countRows counts results as they were decided.
func (r recipe) countRows(rows []heldRow) (n verdicts) {
	for _, row := range rows {
		n.add(r.result(row.seq).GetVerdict())
	}
	return n
}

// auditJournal wants what the fleet has to be what the device's journal has
// from a number on, which nobody may have open. It gives the number of results.
func (h *held) auditJournal(t testing.TB, data string) int {
	t.Helper()
	j, opened, err := journal.Open(data)
	if err != nil || opened.Quarantined != "" {
		t.Fatal(err, opened)
	}
	defer j.Close()
	if h == nil || h.epoch != j.Epoch() {
		t.Fatalf("the fleet doesn't know the journal's epoch")
	}
	records, err := j.After(0, math.MaxInt32)
	if err != nil {
		t.Fatal(err)
	}
	amended := map[uint64][]byte{}
	var results []journal.Row
	for _, r := range records {
		if r.Amends > 0 {
			amended[r.Amends] = r.Body
		} else {
			results = append(results, r)
		}
	}
	rows := h.rows
	if len(results) > 0 {
		for len(rows) > 0 && rows[0].seq < results[0].Seq { // dropped since
			rows = rows[1:]
		}
	}
	if len(rows) != len(results) || h.watermark != j.Stats().Last {
		t.Errorf("the fleet has %d results up to %d, the journal %d up to %d", len(rows), h.watermark, len(results), j.Stats().Last)
	}
	wrong := 0
	for i := range min(len(rows), len(results)) {
		f, d := rows[i], results[i]
		if f.seq != d.Seq || !bytes.Equal(f.body, d.Body) || !bytes.Equal(f.told, amended[d.Seq]) {
			if wrong++; wrong <= 5 {
				t.Errorf("the fleet's result %d isn't the journal's %d as it was written", f.seq, d.Seq)
			}
		}
	}
	return len(results)
}

// audit wants the fleet to have all that the device ever had, which has ended.
func (d *device) audit(c *central, last told) {
	d.t.Helper()
	if last.Last < d.disk {
		d.t.Errorf("%s: the journal ends at %d, %d was said to be on disk", d.set.Make.Name, last.Last, d.disk)
	}
	h := c.has(d.id)[last.Epoch]
	h.audit(d.t, d.set.Make, 1, last.Last)
	if h != nil {
		h.auditJournal(d.t, d.set.Data)
	}
}
