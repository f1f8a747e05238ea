package depot

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/updater/publish"
)

const (
	childFolder = "SIGHTLINE_TEST_DEPOT_CHILD" // in the child: where all is
	childStep   = "SIGHTLINE_TEST_DEPOT_STEP"  // before which change on disk it kills itself; 0 for never
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childFolder); dir != "" {
		if err := child(dir, os.Getenv(childStep)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child does what is left of a depot's life: its first start, two bundles that
// are published, a change of its keys, and a third bundle.
func child(dir, step string) error {
	at, err := strconv.Atoi(step)
	if err != nil {
		return err
	}
	n := 0
	top := folder{filepath.Join(dir, "updates"), func(what string) error {
		if n++; n == at {
			fmt.Println(what)
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		return nil
	}}
	d, err := open(top, time.Now, silent)
	if err != nil {
		return err
	}
	d.reserve = 0
	o := &life{depot: d}
	for i, name := range []string{"root0", "root1", "targets"} {
		if o.keys[i], err = publish.ReadKey(filepath.Join(dir, name), nil); err != nil {
			return err
		}
	}
	for _, do := range []func() error{
		o.first, o.publish(dir, "1.0.0"), o.publish(dir, "1.1.0"), o.change, o.publish(dir, "1.2.0"),
	} {
		if err := do(); err != nil {
			return err
		}
	}
	if st := d.State(); st.Trouble != nil || st.Stale != nil || st.Root != 2 {
		return fmt.Errorf("at the end: %+v", st)
	}
	fmt.Println("changes:", n)
	return d.Close()
}

// life is what owners do from outside, and do again when no answer came.
type life struct {
	depot *Depot
	keys  [3]*publish.Key // two of root, one of targets
}

func (l *life) first() error {
	if l.depot.State().Root > 0 {
		return nil
	}
	root, err := publish.NewRoot(publish.Roles{
		Root: []*publish.PublicKey{l.keys[0].Public(), l.keys[1].Public()}, Targets: l.keys[2].Public(), Online: l.depot.Keys(),
	}, time.Now().Add(publish.RootLife), l.keys[0], l.keys[1])
	if err != nil {
		return err
	}
	return l.depot.PutRoot(root)
}

func (l *life) publish(dir, version string) func() error {
	return func() error {
		archive, err := os.ReadFile(filepath.Join(dir, version))
		if err != nil {
			return err
		}
		b, err := l.depot.PutBundle(context.Background(), sha(archive), int64(len(archive)), bytes.NewReader(archive))
		if err != nil || b.Published {
			return err
		}
		digest, err := hex.DecodeString(b.Digest)
		if err != nil {
			return err
		}
		pieces, err := hex.DecodeString(b.Pieces)
		if err != nil {
			return err
		}
		targets, err := publish.AddTarget(l.depot.current.Load().targets, l.depot.Root(), b.Target, b.Size, [32]byte(digest), [32]byte(pieces),
			time.Now().Add(publish.TargetsLife), l.keys[2])
		if err != nil {
			return err
		}
		return l.depot.PutTargets(targets)
	}
}

func (l *life) change() error {
	if l.depot.State().Root == 2 {
		return nil
	}
	old := l.depot.Keys()
	next, err := l.depot.NextKeys()
	if err != nil {
		return err
	}
	root, err := publish.NextRoot(l.depot.Root(), time.Now().Add(publish.RootLife),
		publish.Change{Role: "snapshot", Old: publish.ID(old.Snapshot), New: next.Snapshot},
		publish.Change{Role: "timestamp", Old: publish.ID(old.Timestamp), New: next.Timestamp})
	if err != nil {
		return err
	}
	if root, err = publish.SignRoot(root, l.keys[0], l.keys[1]); err != nil {
		return err
	}
	return l.depot.PutRoot(root)
}

// TestKilledBetweenWrites: killed before any change on disk, the depot leaves
// what devices can refresh from, with every bundle that they are told of; the
// next start completes it, and what was asked for can be asked for again.
func TestKilledBetweenWrites(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"root0", "root1", "targets"} {
		k, err := publish.NewKey()
		must(t, err)
		must(t, k.WriteFile(filepath.Join(dir, name), nil))
	}
	for _, version := range []string{"1.0.0", "1.1.0", "1.2.0"} {
		must(t, os.WriteFile(filepath.Join(dir, version), archive(t, version, 1000), 0o600))
	}
	every := 9
	if os.Getenv("SIGHTLINE_FAULTS") == "full" {
		every = 1
	}
	ended := false
	for step := 1; !ended; step += every {
		must(t, os.RemoveAll(filepath.Join(dir, "updates")))
		out, err := spawn(t, dir, step)
		if ended = err == nil; ended {
			t.Log(strings.TrimSpace(out))
			if step < 40 {
				t.Errorf("only %d changes on disk", step-1)
			}
			break
		}
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("step %d: %v %s", step, err, out)
		}
		t.Run(strings.TrimSpace(out), func(t *testing.T) { afterKill(t, dir) })
	}
}

func spawn(t *testing.T, dir string, step int) (string, error) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childFolder+"="+dir, childStep+"="+strconv.Itoa(step))
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func afterKill(t *testing.T, dir string) {
	read := func(name string) ([]byte, error) {
		return os.ReadFile(filepath.Join(dir, "updates", metadataFolder, name))
	}
	root, err := read("1.root.json")
	_, unsigned := read("timestamp.json")
	if err == nil && unsigned == nil {
		s, err := refresh(root, time.Now(), read)
		if _, changing := read("2.root.json"); changing == nil && err != nil {
			t.Log("until the next start: ", err) // between a root with new keys and what they sign
		} else if must(t, err); s != nil {
			for _, version := range []string{"1.0.0", "1.1.0", "1.2.0"} {
				must(t, s.Find("bundles/caps/"+version+".slb"))
				target, err := s.Found()
				if err != nil {
					continue
				}
				f, err := os.Open(filepath.Join(dir, "updates", targetsFolder, fmt.Sprintf("%x.slb", target.SHA256)))
				must(t, err)
				must(t, target.Copy(new(bytes.Buffer), f))
				must(t, f.Close())
			}
		}
	}
	if out, err := spawn(t, dir, 0); err != nil {
		t.Fatalf("the next start: %v %s", err, out)
	}
	d := opened(t, filepath.Join(dir, "updates"), new(clock))
	for _, version := range []string{"1.0.0", "1.1.0", "1.2.0"} {
		if !believes(t, d, version) {
			t.Errorf("%s isn't published", version)
		}
	}
	nothingLeft(t, d.top.path)
}
