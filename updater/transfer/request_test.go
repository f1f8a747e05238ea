package transfer

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
)

const mega = 1 << 20

// TestFetch: a bundle comes as it is, is there at once the second time, and
// never more than 256 KiB of it are under way.
func TestFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := made(t, 3*mega+12345)
		d, p := newDepot(t, b), newPuller(t.TempDir())
		n := connected(d, p, 40*time.Millisecond, 2e6)
		var last, times int64
		began := time.Now()
		path, err := p.Fetch(t.Context(), w, func(done, total int64) {
			if done < last || total != w.Length {
				t.Errorf("%d of %d after %d", done, total, last)
			}
			last = done
			times++
		})
		if err != nil || last != w.Length || times != int64(w.count())+1 {
			t.Fatalf("%v, told %d times up to %d", err, times, last)
		}
		same(t, path, b)
		if n.most > mostWindow*(PieceSize+100) || n.most < 3*PieceSize {
			t.Errorf("%d bytes were under way", n.most)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%d bytes at 2 MB/s took %s", len(b), took)
		}
		asked := len(d.asked)
		fetched(t, t.Context(), p, w, b)
		if len(d.asked) != asked || d.sent != w.Length {
			t.Errorf("%d bytes were sent, %d questions asked again", d.sent, len(d.asked)-asked)
		}
		if err := p.Remove(w.Digest); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(p.cfg.Dir); err != nil || len(left) != 0 {
			t.Errorf("%v stay, %v", left, err)
		}
	})
}

// TestSizes: around the borders of pieces and of what one message can name.
func TestSizes(t *testing.T) {
	for _, size := range []int{1, PieceSize - 1, PieceSize, PieceSize + 1, 7 * PieceSize, 8*PieceSize + 1, 70*PieceSize + 5} {
		synctest.Test(t, func(t *testing.T) {
			b, w := made(t, size)
			d, p := newDepot(t, b), newPuller(t.TempDir())
			connected(d, p, time.Millisecond, 0)
			fetched(t, t.Context(), p, w, b)
		})
	}
}

// TestMetadata: files of the repository come by their name.
func TestMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, p := newDepot(t), newPuller(t.TempDir())
		connected(d, p, time.Millisecond, 0)
		long, _ := made(t, 3*PieceSize+7)
		d.metadata["timestamp.json"], d.metadata["7.targets.json"] = []byte("{}"), long
		for name, want := range d.metadata {
			if got, err := p.Metadata(t.Context(), name, mega); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		}
		if _, err := p.Metadata(t.Context(), "2.root.json", mega); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "nothing here") {
			t.Errorf("a file that isn't there: %v", err)
		}
		if _, err := p.Metadata(t.Context(), "7.targets.json", PieceSize); !errors.Is(err, ErrWrong) {
			t.Errorf("a file that is too long: %v", err)
		}
	})
}

// TestMetadataIsReplaced: between two pieces the file becomes another one.
func TestMetadataIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, p := newDepot(t), newPuller(t.TempDir())
		connected(d, p, time.Millisecond, 0)
		before, _ := made(t, 3*PieceSize)
		after, _ := made(t, PieceSize/2)
		d.metadata["timestamp.json"] = before
		d.twist = func(_ *wire.Get, b *wire.Block) []*wire.Block {
			d.metadata["timestamp.json"] = after
			return []*wire.Block{b}
		}
		if got, err := p.Metadata(t.Context(), "timestamp.json", mega); err != nil || !bytes.Equal(got, after) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

// TestLostPieces: what doesn't come is asked for again, alone, and soon.
func TestLostPieces(t *testing.T) {
	for _, share := range []int{20, 5} {
		synctest.Test(t, func(t *testing.T) {
			b, w := made(t, 8*mega)
			d, p := newDepot(t, b), newPuller(t.TempDir())
			connected(d, p, 20*time.Millisecond, 0)
			lost, chance := 0, rand.New(rand.NewPCG(7, uint64(share))) // the same losses in each run
			d.twist = func(g *wire.Get, b *wire.Block) []*wire.Block {
				if chance.IntN(share) == 0 {
					lost++
					return nil
				}
				return []*wire.Block{b}
			}
			began := time.Now()
			fetched(t, t.Context(), p, w, b)
			if again := p.Stats().Again; again > uint64(w.Length)/50 {
				t.Errorf("one of %d lost: %d bytes came twice", share, again)
			}
			t.Logf("one of %d lost: %d pieces, %s for %d", share, lost, time.Since(began), w.count())
			if share >= 5 && time.Since(began) > 30*time.Second {
				t.Errorf("one of %d lost: it took %s", share, time.Since(began))
			}
		})
	}
}

// TestSlowLink: little is under way, so that acknowledgements come through, and
// nothing is asked for twice.
func TestSlowLink(t *testing.T) {
	for _, rate := range []int{4e3, 20e3, 100e3} {
		synctest.Test(t, func(t *testing.T) {
			b, w := made(t, 2*mega)
			d, p := newDepot(t, b), newPuller(t.TempDir())
			n := connected(d, p, 300*time.Millisecond, rate)
			began := time.Now()
			fetched(t, t.Context(), p, w, b)
			took := time.Since(began).Seconds()
			t.Logf("%d bytes/s: %.0f s, %.2f of the line, %d bytes under way at most, %d sent for %d",
				rate, took, float64(w.Length)/float64(rate)/took, n.most, d.sent, w.Length)
			if float64(d.sent) > 1.25*float64(w.Length) || rate > 50e3 && d.sent != w.Length {
				t.Errorf("%d bytes/s: %d bytes were sent for %d", rate, d.sent, w.Length)
			}
			if most := map[int]int64{4e3: 4, 20e3: 2, 100e3: 2}[rate]; n.most > most*(PieceSize+100) {
				t.Errorf("%d bytes/s: %d bytes under way", rate, n.most)
			}
		})
	}
}

// TestSilence: a fleet that doesn't answer is asked ever more seldom.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := made(t, mega)
		d, p := newDepot(t, b), newPuller(t.TempDir())
		n := connected(d, p, time.Millisecond, 0)
		answers := 0
		d.twist = func(_ *wire.Get, b *wire.Block) []*wire.Block {
			if answers++; answers > 8 {
				return nil
			}
			return []*wire.Block{b}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		if _, err := p.Fetch(ctx, w, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if asked := len(d.asked); asked > 45 || asked < 20 {
			t.Errorf("asked %d times in ten minutes", asked)
		}
		d.twist = nil
		n.connect(2) // a new connection is asked at once
		began := time.Now()
		fetched(t, t.Context(), p, w, b)
		if took := time.Since(began); took > time.Second {
			t.Errorf("then it took %s", took)
		}
		if d.sent > w.Length {
			t.Errorf("%d bytes were sent for %d", d.sent, w.Length)
		}
	})
}

// TestBusy: a fleet that says so is left alone for a while.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := made(t, mega)
		d, p := newDepot(t, b), newPuller(t.TempDir())
		connected(d, p, time.Millisecond, 0)
		began := time.Now()
		d.twist = func(g *wire.Get, b *wire.Block) []*wire.Block {
			if time.Since(began) < time.Minute {
				return []*wire.Block{{Tid: g.GetTid(), Fault: wire.Block_FAULT_BUSY}}
			}
			return []*wire.Block{b}
		}
		fetched(t, t.Context(), p, w, b)
		if took := time.Since(began); len(d.asked) > 16+w.count() || took > 110*time.Second {
			t.Errorf("asked %d times in %s", len(d.asked), took)
		}
	})
}

// TestRefusals: what the fleet says ends it, in its words.
func TestRefusals(t *testing.T) {
	for fault, want := range map[wire.Block_Fault]error{wire.Block_FAULT_MISSING: ErrMissing, wire.Block_FAULT_REQUEST: ErrRefused} {
		synctest.Test(t, func(t *testing.T) {
			b, w := made(t, mega)
			d, p := newDepot(t, b), newPuller(t.TempDir())
			connected(d, p, time.Millisecond, 0)
			d.twist = func(g *wire.Get, b *wire.Block) []*wire.Block {
				if g.GetTarget() != nil && b.GetIndex() > 5 {
					b = &wire.Block{Tid: g.GetTid(), Fault: fault, Text: "gone\xff since noon"}
					b.Text = strings.ToValidUTF8(b.Text, "") + strings.Repeat("!", 1000)
				}
				return []*wire.Block{b}
			}
			_, err := p.Fetch(t.Context(), w, nil)
			if !errors.Is(err, want) || !strings.Contains(err.Error(), "gone since noon") || len(err.Error()) > 400 {
				t.Errorf("%v", err)
			}
			d.twist = nil
			fetched(t, t.Context(), p, w, b)
			if d.sent > w.Length+mostWindow*PieceSize {
				t.Errorf("%d bytes were sent for %d", d.sent, w.Length)
			}
		})
	}
}

// TestNoConnection: it waits for one, and ends with its context, at once.
func TestNoConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := made(t, mega)
		d, p := newDepot(t, b), newPuller(t.TempDir())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 2)
		go func() { _, err := p.Fetch(ctx, w, nil); done <- err }()
		go func() { _, err := p.Metadata(ctx, "timestamp.json", mega); done <- err }()
		synctest.Wait()
		cancel()
		synctest.Wait()
		for range 2 {
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
		}
		go func() { _, err := p.Fetch(t.Context(), w, nil); done <- err }()
		synctest.Wait()
		n := connected(d, p, time.Millisecond, 0)
		n.connect(0)
		time.Sleep(time.Hour)
		n.mu.Lock()
		n.deaf = true
		n.mu.Unlock()
		n.connect(3)
		time.Sleep(time.Hour)
		n.mu.Lock()
		n.deaf = false
		n.mu.Unlock()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestTwoAtOnce: of one bundle the second waits for the first; metadata comes
// beside a bundle.
func TestTwoAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := made(t, 4*mega)
		d, p := newDepot(t, b), newPuller(t.TempDir())
		d.metadata["timestamp.json"] = []byte("{}")
		connected(d, p, 40*time.Millisecond, 2e6)
		done := make(chan error, 2)
		for range 2 {
			go func() { _, err := p.Fetch(t.Context(), w, nil); done <- err }()
		}
		time.Sleep(time.Second)
		began := time.Now()
		if _, err := p.Metadata(t.Context(), "timestamp.json", mega); err != nil || time.Since(began) > time.Second {
			t.Errorf("metadata: %v after %s", err, time.Since(began))
		}
		if err := errors.Join(<-done, <-done); err != nil || d.sent != w.Length {
			t.Errorf("%d bytes were sent for %d, %v", d.sent, w.Length, err)
		}
	})
}

// TestCutIsNoticed: what was under way is asked for again at once, not when
// patience ends.
func TestCutIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := made(t, 4*mega)
		d, p := newDepot(t, b), newPuller(t.TempDir())
		n := connected(d, p, 10*time.Millisecond, 0)
		cuts := uint64(0)
		began := time.Now()
		_, err := p.Fetch(t.Context(), w, func(done, _ int64) {
			if done > 0 && done/(mega/2) > int64(cuts) {
				cuts++
				n.connect(0)
				n.connect(1 + cuts)
			}
		})
		if took := time.Since(began); err != nil || cuts < 6 || took > time.Second {
			t.Errorf("%v after %d cuts, in %s", err, cuts, took)
		}
	})
}

// TestLinkGetsSlow: less is under way then.
func TestLinkGetsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := made(t, 4*mega)
		d, p := newDepot(t, b), newPuller(t.TempDir())
		n := connected(d, p, 40*time.Millisecond, 2e6)
		settled := false
		if _, err := p.Fetch(t.Context(), w, func(done, total int64) {
			n.mu.Lock()
			defer n.mu.Unlock()
			switch {
			case n.rate == 2e6 && done > total/4:
				n.rate = 150e3
			case done > total*3/4 && !settled:
				settled, n.most = true, 0
			}
		}); err != nil || !settled || n.most > 3*(PieceSize+100) {
			t.Errorf("%v, %d bytes were under way", err, n.most)
		}
	})
}
