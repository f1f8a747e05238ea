package store

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

// journal is what a device wrote in one epoch, and what the fleet must have of
// it: the plain model that Ingest is held against.
type journal struct {
	device    string
	epoch     uint64
	items     []wire.Item // number n is items[n-1]
	kinds     []byte      // r result, t told, x unreadable
	judged    []vision.Verdict
	of        []uint64 // of a told
	watermark uint64
	fate      []byte // by number: what came: its kind, h of a hole, 0 not yet
	holes     [][2]uint64
	inexact   bool // a hole began within another: what is whose nobody knows
}

func newJournal(rnd *rand.Rand, device string, epoch uint64, n int) *journal {
	j := &journal{device: device, epoch: epoch, fate: make([]byte, n)}
	for seq := uint64(1); seq <= uint64(n); seq++ {
		kind, verdict, of := byte('r'), vision.Verdict(rnd.IntN(3)), uint64(0)
		it := record(seq, verdict)
		switch r := rnd.IntN(20); {
		case r == 0:
			kind, it.Body = 'x', []byte{0xff, byte(seq)}
		case r < 4 && seq > 1:
			kind, of = 't', 1+rnd.Uint64N(seq-1)
			it = told(seq, of, verdict, fmt.Sprint("told in ", seq))
		}
		j.items, j.kinds = append(j.items, it), append(j.kinds, kind)
		j.judged, j.of = append(j.judged, verdict), append(j.of, of)
	}
	return j
}

func (j *journal) count(first, last uint64) (c counts) {
	for seq := first; seq <= last; seq++ {
		if j.kinds[seq-1] == 'r' {
			c[place(j.judged[seq-1])]++
		} else {
			c[3]++
		}
	}
	return c
}

// some is a batch from anywhere, with holes in place of any of its records.
func (j *journal) some(rnd *rand.Rand) *wire.Batch {
	n := uint64(len(j.items))
	at := 1 + rnd.Uint64N(n)
	switch rnd.IntN(4) {
	case 0, 1:
		at = min(j.watermark+1, n) // as devices do
	case 2:
		at = max(1, j.watermark-min(j.watermark, rnd.Uint64N(20)))
	}
	b := &wire.Batch{Epoch: j.epoch}
	for len(b.Items) < 1+rnd.IntN(20) && at <= n {
		it := j.items[at-1]
		if rnd.IntN(6) == 0 {
			last := min(n, at+rnd.Uint64N(15))
			c := j.count(at, last)
			it = hole(&wire.Hole{First: at, Last: last, Pass: c[0], Fail: c[1], None: c[2], Other: c[3], Reason: wire.HoleRetention})
		}
		b.Items = append(b.Items, it)
		at = it.Last + 1
	}
	return b
}

// take is what the protocol says of a batch.
func (j *journal) take(b *wire.Batch) {
	for _, it := range b.Items {
		if it.First > j.watermark+1 {
			return
		}
		if it.Last <= j.watermark {
			continue
		}
		rec, err := wire.Decode(it.Body)
		if err != nil || rec.GetHole() == nil {
			j.fate[it.First-1] = j.kinds[it.First-1]
		} else {
			for _, h := range j.holes {
				j.inexact = j.inexact || h[0] < it.First && it.First <= h[1]
			}
			j.holes = append(j.holes, [2]uint64{j.watermark + 1, it.Last})
			for seq := j.watermark + 1; seq <= it.Last; seq++ {
				j.fate[seq-1] = 'h'
			}
		}
		j.watermark = it.Last
	}
}

// check holds what is stored against the model.
func (j *journal) check(t *testing.T, s *Store) (sum Totals) {
	t.Helper()
	fates := make([]byte, len(j.fate))
	judged := map[uint64]vision.Verdict{}
	var had counts
	for _, r := range results(t, s, Query{Device: j.device, Limit: maxLimit}) {
		if r.Epoch != j.epoch {
			continue
		}
		if fates[r.Seq-1] != 0 {
			t.Errorf("number %d is there twice", r.Seq)
		}
		fates[r.Seq-1], judged[r.Seq] = 'r', r.Verdict
		had[place(r.Record.GetVerdict().Vision())]++
		sum.Results++
	}
	for kind, table := range map[byte]string{'t': "amendment", 'x': "unreadable"} {
		seqs, err := rows(t.Context(), s, scanNumber, `SELECT seq FROM `+table+` WHERE epoch = (SELECT key FROM epoch WHERE epoch = ?
			AND device = (SELECT key FROM device WHERE id = ?))`, int64(j.epoch), j.device)
		if err != nil {
			t.Fatal(err)
		}
		for _, seq := range seqs {
			fates[seq-1] = kind
		}
	}
	holes, err := s.Holes(t.Context(), j.device, maxLimit)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range holes {
		if h.Epoch == j.epoch {
			for seq := h.First; seq <= h.Last; seq++ {
				fates[seq-1] = 'h'
			}
			had[0], had[1], had[2], had[3] = had[0]+h.Pass, had[1]+h.Fail, had[2]+h.None, had[3]+h.Other
			sum.Holes += h.Last - h.First + 1
		}
	}
	want := append([]byte{}, j.fate...)
	told := map[uint64]vision.Verdict{}
	for seq := uint64(1); seq <= j.watermark; seq++ {
		switch of := j.of[seq-1]; {
		case want[seq-1] == 'r':
			told[seq] = j.judged[seq-1]
		case want[seq-1] == 't' && want[of-1] == 'r': // it went into the row
			told[of], want[seq-1] = j.judged[seq-1], 0
			had[3]++
		case want[seq-1] == 't' || want[seq-1] == 'x':
			had[3]++
		}
		if j.fate[seq-1] == 'x' {
			sum.Unreadable++
		}
	}
	for _, v := range told {
		*[]*uint64{&sum.None, &sum.Pass, &sum.Fail}[v]++
	}
	if diff := cmp.Diff(want, fates); diff != "" {
		t.Errorf("device %s, epoch %x: %s", j.device, j.epoch, diff)
	}
	if diff := cmp.Diff(told, judged); diff != "" {
		t.Errorf("device %s, epoch %x, told: %s", j.device, j.epoch, diff)
	}
	for i, all := range j.count(1, j.watermark) {
		if had[i] > all || had[i] < all && !j.inexact {
			t.Errorf("device %s, epoch %x: results and holes count %v, the device's journal has %v", j.device, j.epoch, had, j.count(1, j.watermark))
		}
	}
	return sum
}

// TestModel: batches that come in any order, twice, cut, from anywhere, with
// holes over what was there, of many epochs: what is stored is the model's.
func TestModel(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			s := fresh(t)
			devices := []string{"dev-a", "dev-b"}
			enrol(t, s, devices...)
			rnd := rand.New(rand.NewPCG(seed, 0))
			var journals []*journal
			for _, d := range devices {
				for range 3 {
					journals = append(journals, newJournal(rnd, d, rnd.Uint64(), 100))
				}
			}
			var late []Batch
			for range 60 {
				var group []Batch
				for range 1 + rnd.IntN(5) {
					j := journals[rnd.IntN(len(journals))]
					b := Batch{j.device, overWire(t, rnd, j.some(rnd))}
					if rnd.IntN(3) == 0 && len(late) > 0 {
						b = late[rnd.IntN(len(late))] // once more, or only now
					}
					late = append(late, b)
					if b.Batch != nil && rnd.IntN(8) > 0 {
						group = append(group, b)
					}
				}
				marks, err := s.Ingest(t.Context(), group)
				if err != nil {
					t.Fatal(err)
				}
				for i, b := range group {
					for _, j := range journals {
						if j.device == b.Device && j.epoch == b.Batch.Epoch {
							if j.take(b.Batch); marks[i].Watermark != j.watermark {
								t.Fatalf("watermark %d, want %d", marks[i].Watermark, j.watermark)
							}
						}
					}
				}
			}
			sums := map[string]Totals{}
			for _, j := range journals {
				sums[j.device] = plus(sums[j.device], j.check(t, s))
			}
			for d, want := range sums {
				totals(t, s, d, want)
			}
		})
	}
}

func plus(a, b Totals) Totals {
	return Totals{a.Results + b.Results, a.Pass + b.Pass, a.Fail + b.Fail, a.None + b.None, a.Holes + b.Holes, a.Unreadable + b.Unreadable}
}

// overWire sends the batch, sometimes cut: nil then.
func overWire(t *testing.T, rnd *rand.Rand, b *wire.Batch) *wire.Batch {
	t.Helper()
	raw, err := wire.EncodeBatch(b)
	if err != nil {
		t.Fatal(err)
	}
	if rnd.IntN(10) == 0 {
		raw = raw[:rnd.IntN(len(raw))]
		if _, err := wire.DecodeBatch(raw); err == nil {
			t.Fatalf("a batch was cut and decodes")
		}
		return nil
	}
	back, err := wire.DecodeBatch(raw)
	if err != nil {
		t.Fatal(err)
	}
	return back
}
