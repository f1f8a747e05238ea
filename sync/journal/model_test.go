package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/sync/wire"
)

// model is the journal as plain slices and maps. Only how much a commit drops
// it takes from the journal.
type model struct {
	epoch        uint64
	bodies       [][]byte          // of all records ever, number 1 first
	amends       map[uint64]uint64 // amendment -> record
	first        uint64            // the oldest that is there
	acked, saved uint64
	floor        uint64
	holes        []*wire.Hole
	dropped      uint64
	droppedAcked uint64
}

func (m *model) last() uint64 { return uint64(len(m.bodies)) }

// committed follows a commit after which the journal's first record is that.
func (m *model) committed(t *testing.T, first uint64) {
	t.Helper()
	if m.acked > m.saved {
		m.saved = m.acked
		m.holes = slices.DeleteFunc(m.holes, func(h *wire.Hole) bool { return h.Last <= m.acked })
	}
	if first < m.first || first > m.last()+1 {
		t.Fatalf("the first record is %d, it was %d, the last is %d", first, m.first, m.last())
	}
	for ; m.first < first; m.first++ {
		if m.first <= m.acked {
			m.droppedAcked++
			continue
		}
		m.dropped++
		if n := len(m.holes); n == 0 || m.holes[n-1].Last != m.first-1 {
			m.holes = append(m.holes, &wire.Hole{First: m.first, Reason: wire.HoleRetention})
		}
		h := m.holes[len(m.holes)-1]
		h.Last = m.first
		r, err := wire.Decode(m.bodies[m.first-1])
		switch {
		case err != nil || r.GetResult() == nil:
			h.Other++
		case r.GetResult().GetVerdict() == wire.Verdict_VERDICT_PASS:
			h.Pass++
		case r.GetResult().GetVerdict() == wire.Verdict_VERDICT_FAIL:
			h.Fail++
		default:
			h.None++
		}
	}
}

// replay is what Replay must give.
func (m *model) replay(t *testing.T, after uint64, limit, size int) (items []wire.Item) {
	t.Helper()
	for next := after + 1; next <= m.last() && len(items) < limit; {
		it := m.at(t, next)
		if len(items) > 0 && (it.First != next || len(it.Body) > size) {
			break
		}
		items = append(items, it)
		size -= len(it.Body)
		next = it.Last + 1
	}
	return items
}

func sameItem(a, b wire.Item) bool {
	return a.First == b.First && a.Last == b.Last && bytes.Equal(a.Body, b.Body)
}

// at is the item that tells about number seq.
func (m *model) at(t *testing.T, seq uint64) wire.Item {
	t.Helper()
	h := &wire.Hole{First: seq, Last: m.first - 1, Reason: wire.HoleGone}
	at := slices.IndexFunc(m.holes, func(h *wire.Hole) bool { return seq <= h.Last })
	switch {
	case seq <= m.floor:
		h = &wire.Hole{First: 1, Last: m.floor, Reason: wire.HoleEarlierEpoch}
	case at >= 0 && m.holes[at].First <= seq:
		h = m.holes[at]
	case seq >= m.first:
		return wire.Item{First: seq, Last: seq, Body: m.bodies[seq-1]}
	case at >= 0:
		h.Last = m.holes[at].First - 1
	}
	it, err := wire.NewHole(h)
	if err != nil {
		t.Fatal(err)
	}
	return it
}

// compare holds the journal against the model.
func (m *model) compare(t *testing.T, j *Journal, rnd *rand.Rand) {
	t.Helper()
	s := j.Stats()
	first := m.first
	if first > m.last() {
		first = 0
	}
	got := []uint64{j.Epoch(), s.First, s.Last, s.Acknowledged, s.Dropped, s.DroppedAcked, s.Bad}
	want := []uint64{m.epoch, first, m.last(), m.acked, m.dropped, m.droppedAcked, 0}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("epoch, first, last, acknowledged, dropped, dropped acknowledged, bad (-want +got):\n%s", diff)
	}
	after, limit, size := rnd.Uint64N(m.last()+3), 1+rnd.IntN(100), rnd.IntN(30000)
	items, err := j.Replay(after, limit, size)
	if err != nil {
		t.Fatal(err)
	}
	if want := m.replay(t, after, limit, size); !slices.EqualFunc(want, items, sameItem) {
		t.Fatalf("after %d, %d items, %d bytes (-want +got):\n%s", after, limit, size, cmp.Diff(told(t, want), told(t, items)))
	}
	for _, c := range []uint64{after, m.last()} {
		if isClosed(j.Changed(c)) != (c < m.last()) {
			t.Fatalf("Changed(%d) is closed: %v, the last is %d", c, c >= m.last(), m.last())
		}
	}
	m.compareQuery(t, j, after)
}

func (m *model) compareQuery(t *testing.T, j *Journal, before uint64) {
	t.Helper()
	rows, _, err := j.Query(before, 20, all)
	if err != nil {
		t.Fatal(err)
	}
	seq := before
	if before == 0 || before > m.last() {
		seq = m.last() + 1
	}
	for _, r := range rows {
		for seq--; m.amends[seq] != 0; seq-- {
		}
		var amend []byte
		for a := seq + 1; a <= m.last(); a++ {
			if m.amends[a] == seq {
				amend = m.bodies[a-1]
			}
		}
		if r.Seq != seq || seq < m.first || !bytes.Equal(r.Body, m.bodies[seq-1]) || !bytes.Equal(r.Amend, amend) {
			t.Fatalf("Query below %d gives record %d where %d should be", before, r.Seq, seq)
		}
	}
}

// append adds some records and amendments, in one commit or, where the limit
// wants it, several.
func (m *model) append(t *testing.T, j *Journal, rnd *rand.Rand) {
	t.Helper()
	var queued []*Pending
	for range rnd.IntN(30) {
		size := rnd.IntN(600)
		if rnd.IntN(30) == 0 {
			size = rnd.IntN(20000)
		}
		body := resultBody(t, wire.Verdict(rnd.IntN(4)), fmt.Sprint(rnd.Uint64()), size)
		if rnd.IntN(10) == 0 {
			body = []byte("no record that wire knows")
		}
		if of := rnd.Uint64N(m.last() + 1); rnd.IntN(8) == 0 && of >= m.first && m.amends[of] == 0 {
			queued = append(queued, j.Amend(of, body))
			continue
		}
		queued = append(queued, j.Append(body))
	}
	if _, err := j.commit(j.take()); err != nil {
		t.Fatal(err)
	}
	for _, p := range queued {
		seq, err := p.Result()
		if first := j.Stats().First; errors.Is(err, ErrNotFound) && (p.amends < first || first == 0) {
			continue // dropped in the same commit
		}
		if err != nil || seq != m.last()+1 {
			t.Fatalf("record %d: %d, %v", m.last()+1, seq, err)
		}
		m.bodies = append(m.bodies, p.body)
		if p.amends != 0 {
			m.amends[seq] = p.amends
		}
	}
}

// TestModel does what it likes to a journal and to a model of it, and holds
// one against the other after each step. A crash is a copy of the file as it
// is while the journal is open.
func TestModel(t *testing.T) {
	runs, steps := 6, 400
	if os.Getenv("SIGHTLINE_FAULTS") == "full" {
		runs, steps = 60, 2000
	}
	for run := range runs {
		t.Run(fmt.Sprint(run), func(t *testing.T) { modelRun(t, rand.New(rand.NewPCG(uint64(run), 4)), steps) })
	}
}

func modelRun(t *testing.T, rnd *rand.Rand, steps int) {
	dir, limit := t.TempDir(), int64(0)
	reopen := func() *Journal {
		j := stepped(t, dir, limit)
		j.db.NoSync = true // for speed: no power is cut here
		return j
	}
	j := reopen()
	m := &model{epoch: j.Epoch(), first: 1, amends: map[uint64]uint64{}}
	committed := func() {
		first := j.Stats().First
		if first == 0 {
			first = m.last() + 1
		}
		m.committed(t, first)
	}
	for range steps {
		switch rnd.IntN(12) {
		default:
			m.append(t, j, rnd)
			committed()
		case 0, 1, 2:
			seq := rnd.Uint64N(m.last() + 3)
			err := j.Acknowledge(m.epoch, seq)
			if (seq > m.last()) != errors.Is(err, ErrAhead) {
				t.Fatalf("acknowledge %d of %d: %v", seq, m.last(), err)
			}
			if err == nil {
				m.acked = max(m.acked, seq)
			}
		case 3:
			limit = []int64{0, 1, 60 << 10, 200 << 10, 200 << 10}[rnd.IntN(5)]
			j.Retain(limit)
		case 4: // closed and opened: Acknowledged is kept
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			j = reopen()
			if m.acked > m.saved {
				committed()
			}
		case 5: // a crash: what wasn't saved of it is lost
			next := t.TempDir()
			b, err := os.ReadFile(filepath.Join(dir, FileName))
			if err := errors.Join(err, os.WriteFile(filepath.Join(next, FileName), b, 0o640), closeDB(j.db), j.lock.Close()); err != nil {
				t.Fatal(err)
			}
			dir = next
			j = reopen()
			m.acked = m.saved
		case 6:
			if rnd.IntN(5) > 0 {
				continue
			}
			if err := j.NewEpoch(); err != nil {
				t.Fatal(err)
			}
			m.epoch, m.floor = j.Epoch(), m.acked
			m.committed(t, m.first)
			m.holes = slices.DeleteFunc(m.holes, func(h *wire.Hole) bool { return h.Last <= m.acked })
		}
		m.compare(t, j, rnd)
	}
	allOf(t, j, 0, 100, 1<<20)
	t.Logf("%d records, %d amendments, %d dropped, %d of them acknowledged, first %d", m.last(), len(m.amends), m.dropped+m.droppedAcked, m.droppedAcked, m.first)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}
