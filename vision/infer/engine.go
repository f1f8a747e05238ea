package infer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sightline-edge/sightline/internal/whole"
)

// engine is the one that a session loads or builds. The first engine of a key is
// built by one process and used by the next: what serves has read it from disk, as
// every later start will, and is rid of what the build took.
type engine struct {
	cache Engines
	key   engineKey
	rec   *engineRecord // nil: it is being built
	began time.Time
	loads int64    // that didn't end before this one
	lock  *os.File // of its load or build
	turn  *os.File // held while it is built: one engine at a time
	use   *os.File // held for as long as the process lives
}

// openEngine gives the engine of a key, which is to be built where there is none that
// is whole. waits hears that another process builds or loads it just now, and says
// whether to wait for that; if not, the error is errUnbuilt.
func (e Engines) openEngine(key engineKey, waits func() bool) (*engine, error) {
	if e.Dir == "" {
		return nil, errors.New("there is no folder to keep its engine in: name one with SIGHTLINE_CACHE")
	}
	if err := os.MkdirAll(e.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder for engines: %w", err)
	}
	g := &engine{cache: e, key: key, began: time.Now()}
	var err error
	if g.lock, err = e.lock(key.name()+loadLock, unix.LOCK_EX|unix.LOCK_NB); g.lock == nil && err == nil {
		if !waits() {
			return nil, errUnbuilt
		}
		g.lock, err = e.lock(key.name()+loadLock, unix.LOCK_EX)
	}
	if err != nil {
		return nil, fmt.Errorf("open the engine: %w", err)
	}
	if err := g.begin(); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

// begin looks at what is kept, and counts the load: one that its process doesn't
// survive is known by the next. A damaged engine is thrown away.
func (g *engine) begin() error {
	st, err := g.lock.Stat()
	if err != nil {
		return fmt.Errorf("open the engine: %w", err)
	}
	rec, damage := g.cache.verify(g.key)
	if rec != nil && damage == nil && st.Size() < badLoads {
		g.rec, g.loads = rec, st.Size()
		if err = os.Remove(g.dir()); err == nil || errors.Is(err, fs.ErrNotExist) {
			err = os.Symlink(g.key.name(), g.dir())
		}
		if err == nil {
			_, err = g.lock.WriteAt([]byte("x"), st.Size())
		}
		if err != nil {
			return fmt.Errorf("open the engine: %w", err)
		}
		return nil
	}
	return g.rebuild()
}

// forgive takes back that this load was counted: that it doesn't end is no fault of the
// engine's. It may be called at any time, from any goroutine.
func (g *engine) forgive() {
	file := g.cache.path(g.key.name() + loadLock)
	if st, err := os.Stat(file); err == nil && st.Size() > g.loads {
		_ = os.Truncate(file, g.loads) // else it counts
	}
}

// rebuild throws away what is kept under the key and makes room for a new one.
func (g *engine) rebuild() error {
	g.rec, g.began = nil, time.Now()
	err := errors.Join(g.lock.Truncate(0), g.cache.remove(g.key.name()), os.RemoveAll(g.cache.path(g.key.name()+building)), g.cache.prune())
	if err == nil {
		err = os.Mkdir(g.dir(), 0o700)
	}
	if err != nil {
		return fmt.Errorf("make room for an engine: %w", err)
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(g.cache.Dir, &disk); err == nil && disk.Bavail*uint64(disk.Bsize) < enginesRoom {
		return fmt.Errorf("build the engine: %s has %d MB left, %d are needed", g.cache.Dir, disk.Bavail*uint64(disk.Bsize)/1e6, int(enginesRoom/1e6))
	}
	return nil
}

// takeTurn waits until no other engine is built in this folder; waits hears if it must.
// TensorRT chooses kernels by measuring them: builds that compete take several times as
// long, and choose by each other's noise.
func (g *engine) takeTurn(waits func()) error {
	if g.turn != nil {
		return nil
	}
	var err error
	if g.turn, err = g.cache.lock(turnLock, unix.LOCK_EX|unix.LOCK_NB); g.turn == nil && err == nil {
		waits()
		g.turn, err = g.cache.lock(turnLock, unix.LOCK_EX)
	}
	if err != nil {
		return fmt.Errorf("wait to build the engine: %w", err)
	}
	g.began = time.Now()
	g.seed()
	return nil
}

// timing ends the names of what TensorRT measured of kernels.
const timing = ".timing"

// seed copies the newest measurements of kernels on this machine, which make a build
// shorter. Without them it only takes longer.
func (g *engine) seed() {
	all, err := g.cache.list()
	if err != nil {
		return
	}
	for _, k := range slices.Backward(all) {
		r, err := g.cache.record(k.name)
		if err != nil || !r.Key.sameMachine(g.key) {
			continue
		}
		for _, f := range r.Files {
			from := filepath.Join(g.cache.path(k.name), f.Name)
			if !strings.HasSuffix(f.Name, timing) {
				continue
			}
			if now, err := sumFile(from); err != nil || now != f {
				continue
			}
			if copyFile(from, filepath.Join(g.dir(), f.Name)) == nil {
				return
			}
		}
	}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// fresh tells whether the engine is being built.
func (g *engine) fresh() bool { return g.rec == nil }

// dir is where ONNX Runtime finds the engine, or leaves it. Where a size inside the
// model depends on the picture it builds and writes again in later runs: by then
// neither path leads to the engine that was proved.
func (g *engine) dir() string {
	if g.fresh() {
		return g.cache.path(g.key.name() + building)
	}
	return g.cache.path(g.key.name() + opened)
}

// options are the provider's. The engine is made for the inputs of profile, and takes
// those up to largest.
func (g *engine) options(profile, largest string) map[string]string {
	o := map[string]string{
		"device_id":               "0",
		"trt_engine_cache_enable": "1",
		"trt_engine_cache_path":   g.dir(),
		"trt_timing_cache_enable": "1",
		"trt_timing_cache_path":   g.dir(),
		"trt_max_workspace_size":  "1073741824", // bytes; bounds what a kernel may want, and the build
		"trt_fp16_enable":         "0",
	}
	if g.key.Precision == Half {
		o["trt_fp16_enable"] = "1"
	}
	if profile != "" { // without it an engine of open sizes is only built in the first run
		o["trt_profile_min_shapes"], o["trt_profile_opt_shapes"], o["trt_profile_max_shapes"] = profile, profile, largest
	}
	return o
}

// proved says that the session has run. An engine that was built is kept then, and
// the error is errBuilt; one that was loaded is known to be good.
func (g *engine) proved() error {
	if g.fresh() {
		took := time.Since(g.began)
		if _, err := g.cache.seal(g.key, took, nil); err != nil {
			return fmt.Errorf("keep the engine: %w", err)
		}
		g.cache.remember(g.key, took)
		return errBuilt
	}
	now := time.Now()
	_ = os.Chtimes(filepath.Join(g.cache.path(g.key.name()), recordFile), now, now) // it is only thought older than it is
	err := os.Remove(g.dir())
	if err != nil {
		return fmt.Errorf("use the engine: %w", err)
	}
	if g.use, err = g.cache.lock(g.key.name()+useLock, unix.LOCK_SH); err != nil {
		return fmt.Errorf("use the engine: %w", err)
	}
	if err := g.lock.Truncate(0); err != nil {
		return fmt.Errorf("use the engine: %w", err)
	}
	lock := g.lock
	g.lock = nil
	_ = g.cache.prune() // what can't be removed now is tried again at the next load
	return lock.Close()
}

// errUnbuilt passes TensorRT over for now.
var errUnbuilt = errors.New("its engine isn't there yet: it is built meanwhile, and used from the next start on")

// errBuilt ends a process that has built an engine: the next one loads it.
var errBuilt = errors.New("the engine is built")

func (g *engine) close() error {
	var errs []error
	for _, f := range []*os.File{g.lock, g.turn, g.use} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	g.lock, g.turn, g.use = nil, nil, nil
	return errors.Join(errs...)
}

// timesFile holds how long builds took, by model.
const timesFile = "times.json"

// keepTimes bounds the models in it.
const keepTimes = 256

func (e Engines) times() map[string]time.Duration {
	out := map[string]time.Duration{}
	b, err := os.ReadFile(e.path(timesFile))
	if err != nil || json.Unmarshal(b, &out) != nil || len(out) > keepTimes {
		return map[string]time.Duration{} // it is only a help for people
	}
	return out
}

// remember keeps how long a build took. Of two at once one may be forgotten.
func (e Engines) remember(key engineKey, took time.Duration) {
	times := e.times()
	if len(times) == keepTimes {
		clear(times)
	}
	times[timeKey(key)] = took.Round(time.Second)
	if b, err := json.Marshal(times); err == nil {
		_ = whole.Write(e.path(timesFile), b, 0o600) // a later build isn't told how long it takes
	}
}

// usual is how long the last build of the same model took, 0 if none is known.
func (e Engines) usual(key engineKey) time.Duration { return e.times()[timeKey(key)] }

func timeKey(key engineKey) string { return key.Model + " " + string(key.Precision) }
