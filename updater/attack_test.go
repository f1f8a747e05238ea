package updater

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/updater/bundle"
)

// refusedFor sends an install and expects that it is refused with the reason,
// while what ran before runs on.
func (d *device) refusedFor(c *wire.Command, reason Reason) {
	d.t.Helper()
	before := d.runs()
	d.u.Command(c)
	d.until(c, Rejected)
	if got := d.failure(); got != reason {
		d.t.Errorf("refused for %q, want %q: %s", got, reason, d.u.Status()[0].Failure.Text)
	}
	if got := d.runs(); got != before {
		d.t.Errorf("runs %q, before it was %q", got, before)
	}
	if len(d.contents()) > 0 && !slices.Equal(d.contents(), []string{before}) {
		d.t.Errorf("on disk is %v", d.contents())
	}
}

func TestTamperedBytes(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		one := d.repo.publish(t, "caps", "1", "good")
		d.repo.tamper = func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
		d.start()
		d.refusedFor(order(wire.Command_ACT_INSTALL, "r", "1", one), Untrusted)
	})
}

// TestAnotherBundlesBytes: what is fetched is a good bundle, signed, but not
// the one.
func TestAnotherBundlesBytes(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		one := d.repo.publish(t, "caps", "1", "good")
		var other bytes.Buffer
		must(bundle.Pack(bundleFS("caps", "0", "good"), &other))(t)
		d.repo.tamper = func([]byte) []byte { return other.Bytes() }
		d.start()
		d.refusedFor(order(wire.Command_ACT_INSTALL, "r", "1", one), Untrusted)
	})
}

// TestCommandOfAStolenFleet: a command is no authority.
func TestCommandOfAStolenFleet(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		one := d.repo.publish(t, "caps", "1", "good")
		d.repo.publish(t, "caps", "2", "good")
		bottles := d.repo.publish(t, "bottles", "1", "good")
		d.start()
		unsigned := sha256.Sum256([]byte("mine"))
		c := order(wire.Command_ACT_INSTALL, "unsigned", "9", "")
		c.Digest = unsigned[:]
		d.refusedFor(c, Untrusted)
		d.refusedFor(order(wire.Command_ACT_INSTALL, "another's digest", "2", one), Untrusted)

		c = order(wire.Command_ACT_INSTALL, "another's path", "1", bottles)
		c.Target = bundle.TargetPath("bottles", "1")
		d.u.Command(c)
		d.wait("an answer", func() bool { return d.told("isn't that of caps 1") })
		c = order(wire.Command_ACT_INSTALL, "an old one as new", "1", one)
		c.Version = "9.9.9"
		d.u.Command(c)
		d.wait("an answer", func() bool { return d.told("isn't that of caps 9.9.9") })
		for name, change := range map[string]func(*wire.Command){
			"digest":     func(c *wire.Command) { c.Digest = c.Digest[1:] },
			"nonce":      func(c *wire.Command) { c.Nonce = nil },
			"act":        func(c *wire.Command) { c.Act = 77 },
			"longer":     func(c *wire.Command) { c.Rollout = strings.Repeat("r", 1000) },
			"no station": func(c *wire.Command) { c.Bundle, c.Target = "lids", bundle.TargetPath("lids", "1") },
		} {
			c := order(wire.Command_ACT_INSTALL, name, "1", one)
			change(c)
			d.u.Command(c)
			d.wait("an answer about "+name, func() bool { return d.told(name) })
		}
		if got := d.runs(); got != "" {
			t.Errorf("runs %q", got)
		}
	})
}

// TestBundleUnderAnothersName: it is signed under a name or a version that it
// doesn't call itself.
func TestBundleUnderAnothersName(t *testing.T) {
	for _, is := range [][2]string{{"bottles", "1"}, {"caps", "2"}} {
		in(t, func(t *testing.T, d *device) {
			one := d.repo.publishFile(t, "caps", "1", bundleFS(is[0], is[1], "good"))
			d.start()
			d.refusedFor(order(wire.Command_ACT_INSTALL, "r", "1", one), Damaged)
		})
	}
}

func TestSignedRubbish(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		b := []byte("no bundle at all")
		sum := sha256.Sum256(b)
		one := d.repo.sign(t, "caps", "1", hexSum(sum), b)
		d.start()
		d.refusedFor(order(wire.Command_ACT_INSTALL, "r", "1", one), Damaged)
	})
}

// TestOldCommandDoesNotComeBack: messages may come twice, and late.
func TestOldCommandDoesNotComeBack(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		one := d.repo.publish(t, "caps", "1", "good")
		two := d.repo.publish(t, "caps", "2", "good")
		d.start()
		old := d.install("r1", "1", one)
		d.until(old, Committed)
		d.until(d.install("r2", "2", two), Committed)
		d.u.Command(old)
		d.sleep(10 * time.Minute)
		if got := d.runs(); got != two {
			t.Errorf("runs %q", got)
		}
		d.restart()
		d.u.Command(old)
		d.sleep(10 * time.Minute)
		if got := d.runs(); got != two {
			t.Errorf("after a restart runs %q", got)
		}
	})
}

// TestSuccessIsNotToldWhileTheOldOneRuns: the plant says that it has switched
// and hasn't.
func TestSuccessIsNotToldWhileTheOldOneRuns(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		one := d.repo.publish(t, "caps", "1", "good")
		two := d.repo.publish(t, "caps", "2", "liar")
		d.start()
		d.until(d.install("r1", "1", one), Committed)
		c := d.install("r2", "2", two)
		d.until(c, RolledBack)
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, r := range d.reports {
			if !bytes.Equal(r.GetDigest(), c.GetDigest()) {
				continue
			}
			if r.GetProof() != nil || r.GetStations()[0].GetPhase() == wire.Phase_PHASE_COMMITTED {
				t.Fatalf("told is %v", r)
			}
		}
	})
}

// TestProofNamesOnlyThisBundlesVerdicts: signed is what each station told by
// the bundle after it was activated.
func TestProofNamesOnlyThisBundlesVerdicts(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		d.stations = append(d.stations, Station{ID: "two", Bundle: "caps"})
		d.until(d.start().install("r0", "0", d.repo.publish(t, "caps", "0", "good")), Committed)
		one := d.repo.publish(t, "caps", "1", "good")
		c := d.install("r1", "1", one)
		d.until(c, Committed)
		d.wait("a proof", func() bool { return d.last().GetProof() != nil })
		var s wire.Statement
		if err := wire.Unmarshal(d.last().GetProof().GetStatement(), &s); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(s.GetNonce(), c.GetNonce()) || !bytes.Equal(s.GetDigest(), c.GetDigest()) || s.GetRollout() != "r1" ||
			len(s.GetProcess()) != 16 || s.GetGate().GetPassed() != 3 || len(s.GetStations()) != 2 {
			t.Errorf("stated is %v", &s)
		}
		for _, ran := range s.GetStations() {
			if len(ran.GetSeq()) < defaultVerdicts || ran.GetEpoch() != 7 || slices.Min(ran.GetSeq()) <= ran.GetAfter() {
				t.Errorf("stated is %v", ran)
			}
		}
	})
}

// TestProofWaitsForAllStations: one that doesn't run it keeps the device's
// proof away.
func TestProofWaitsForAllStations(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		d.stations = append(d.stations, Station{ID: "two", Bundle: "caps", Policy: Ask})
		one := d.repo.publish(t, "caps", "1", "good")
		d.start()
		d.install("r1", "1", one)
		d.sleep(10 * time.Minute)
		if r := d.last(); r.GetProof() != nil || r.GetStations()[0].GetPhase() != wire.Phase_PHASE_COMMITTED ||
			r.GetStations()[1].GetReason() != string(WaitsForOperator) {
			t.Errorf("told is %v", r)
		}
		if err := d.u.Approve("two"); err != nil {
			t.Error(err)
		}
		d.wait("a proof", func() bool { return d.last().GetProof() != nil })
	})
}

// TestHugeCommands: what doesn't fit on record is refused, whatever the fleet
// sends, and the device goes on.
func TestHugeCommands(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		for n := range 10 {
			d.stations = append(d.stations, Station{ID: fmt.Sprint("more", n), Bundle: fmt.Sprint("more", n)})
		}
		one := d.repo.publish(t, "caps", "1", "good")
		d.start()
		odd := strings.Repeat("\x01", 200) // takes six times as much in the record
		for n := range 10 {
			name := fmt.Sprint("more", n)
			d.u.Command(&wire.Command{
				Rollout: odd, Nonce: bytes.Repeat([]byte{byte(n + 1)}, 16), Act: wire.Command_ACT_INSTALL, Bundle: name, Version: odd,
				Target: bundle.TargetPath(name, odd), Digest: make([]byte, 32),
			})
			d.sleep(time.Minute)
		}
		d.restart()
		d.install("r", "1", one)
		d.wait("it", func() bool { return d.u.stations[0].rec.Load().Phase == Committed })
	})
}

// TestPipesAndDevicesOnAStick: what never ends, or never begins, is refused at
// once, and keeps nothing else from being installed.
func TestPipesAndDevicesOnAStick(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		one := d.repo.publish(t, "caps", "1", "good")
		d.start()
		archive := filepath.Join(d.repo.dir, "targets", "bundles", "caps", one+".1.slb")
		stamp := filepath.Join(d.repo.dir, "metadata", "timestamp.json")
		for _, c := range []struct {
			file, want string
			replace    func() error
		}{
			{archive, "is no file", func() error { return syscall.Mkfifo(archive, 0o644) }},
			{archive, "is no file", func() error { return os.Symlink("/dev/zero", archive) }},
			{archive, "signed are", func() error { return os.Symlink("/proc/self/exe", archive) }},
			{stamp, "is no file", func() error { return syscall.Mkfifo(stamp, 0o644) }},
			{stamp, "is no file", func() error { return os.Symlink("/dev/zero", stamp) }},
		} {
			good := must(os.ReadFile(c.file))(t)
			if err := errors.Join(os.Remove(c.file), c.replace()); err != nil {
				t.Fatal(err)
			}
			if err := d.u.Local(t.Context(), d.repo.dir); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one with %q", err, c.want)
			}
			if err := errors.Join(os.Remove(c.file), os.WriteFile(c.file, good, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := d.u.Local(ended, d.repo.dir); !errors.Is(err, context.Canceled) {
			t.Errorf("an install that is over says %v", err)
		}
		if n := len(d.contents()); n != 0 {
			t.Errorf("%d bundles are on disk", n)
		}
		if err := d.u.Local(t.Context(), d.repo.dir); err != nil {
			t.Error(err)
		}
	})
}

// TestMutatedStick: a folder is checked as the fleet is.
func TestMutatedStick(t *testing.T) {
	in(t, func(t *testing.T, d *device) {
		one := d.repo.publish(t, "caps", "1", "good")
		d.start()
		file := filepath.Join(d.repo.dir, "targets", "bundles", "caps", one+".1.slb")
		whole := must(os.ReadFile(file))(t)
		bad := bytes.Clone(whole)
		bad[len(bad)/3] ^= 4
		if err := os.WriteFile(file, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := d.u.Local(t.Context(), d.repo.dir); err == nil || !strings.Contains(err.Error(), errDigest.Error()) {
			t.Errorf("error is %v", err)
		}
		newer := filepath.Join(filepath.Dir(file), "9.slb")
		if err := os.WriteFile(newer, whole, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := d.u.Local(t.Context(), d.repo.dir); err == nil || !strings.Contains(err.Error(), "bundles/caps/9.slb") {
			t.Errorf("error is %v", err)
		}
		stamp := filepath.Join(d.repo.dir, "metadata", "timestamp.json")
		old := must(os.ReadFile(stamp))(t)
		if err := os.WriteFile(stamp, bytes.Replace(old, []byte(`"version":1`), []byte(`"version":2`), 1), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := d.u.Local(t.Context(), d.repo.dir); err == nil || !strings.Contains(err.Error(), "timestamp.json") {
			t.Errorf("error is %v", err)
		}
		if n := len(d.contents()); n != 0 || d.runs() != "" {
			t.Errorf("%d bundles are on disk, %q runs", n, d.runs())
		}
	})
}

func hexSum(sum [32]byte) string { return hex.EncodeToString(sum[:]) }
