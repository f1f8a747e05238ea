package infer

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
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

// Engines says where TensorRT's engines are kept. Any number of processes may share
// the folder.
type Engines struct {
	Dir   string `json:"dir,omitempty"`   // "" is none, and TensorRT isn't used then
	Limit int64  `json:"limit,omitempty"` // bytes of all engines together; 0 counts as 4 GB. What is in use may exceed it
}

// Limits of the folder.
const (
	defaultEngines = 4e9     // bytes
	enginesRoom    = 512e6   // bytes that must be free before one is built
	maxRecord      = 1 << 20 // bytes of an engine's record
	badLoads       = 2       // processes that may die over a kept engine, until it is thrown away
)

// Names in the folder: an engine's folder is called by its key, and beside it lie
// its locks. What ends in one of the others is nobody's once its lock is free.
const (
	recordFile = "engine.json"
	building   = ".build" // folder of an engine that isn't whole yet
	gone       = ".gone"  // folder that is being removed
	opened     = ".open"  // link to an engine's folder, by which ONNX Runtime reads it
	loadLock   = ".lock"  // held while an engine is loaded or built; holds a byte for each load that didn't end
	useLock    = ".use"   // shared by the processes that use the engine
	turnLock   = "turn"   // held by the process that builds an engine
)

// engineKey is all that an engine depends on.
type engineKey struct {
	Model      string    `json:"model"`  // SHA-256, hex
	Inputs     string    `json:"inputs"` // each with its shape
	Precision  Precision `json:"precision"`
	Runtime    string    `json:"onnxruntime"` // version
	TensorRT   string    `json:"tensorrt"`    // version
	GPU        string    `json:"gpu"`
	Capability string    `json:"capability"`
	Driver     string    `json:"driver"`
}

// name is what the key's files are called.
func (k engineKey) name() string {
	b, err := json.Marshal(k)
	if err != nil {
		panic("BUG: a key of strings has no JSON: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// isKey tells whether a name is one that name gives.
func isKey(name string) bool {
	b, err := hex.DecodeString(name)
	return err == nil && len(b) == 16
}

// sameMachine tells whether what was measured for one engine helps to build the other.
func (k engineKey) sameMachine(o engineKey) bool {
	k.Model, k.Inputs, k.Precision = o.Model, o.Inputs, o.Precision
	return k == o
}

// engineRecord is what makes a folder of files an engine. It is written last.
type engineRecord struct {
	Key   engineKey     `json:"key"`
	Took  time.Duration `json:"took_ns"` // to build it
	Files []engineFile  `json:"files"`   // by name
}

type engineFile struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// digest tells engines of one key apart: two builds choose different kernels, whose
// results differ in the last bits.
func (r *engineRecord) digest() string {
	h := sha256.New()
	for _, f := range r.Files {
		if strings.HasSuffix(f.Name, ".engine") {
			fmt.Fprintln(h, f.Name, f.SHA256)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (r *engineRecord) size() (n int64) {
	for _, f := range r.Files {
		n += f.Size
	}
	return n
}

// path is of something in the folder.
func (e Engines) path(name string) string { return filepath.Join(e.Dir, name) }

// record reads the record in a folder.
func (e Engines) record(name string) (*engineRecord, error) {
	f, err := os.Open(filepath.Join(e.path(name), recordFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxRecord))
	if err != nil {
		return nil, err
	}
	var r engineRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("its record is damaged: %w", err)
	}
	return &r, nil
}

// verify reads an engine whole: a nil record without an error is none.
func (e Engines) verify(key engineKey) (*engineRecord, error) {
	r, err := e.record(key.name())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if r.Key != key {
		return nil, errors.New("its record is of another engine")
	}
	for _, f := range r.Files {
		if f.Name != filepath.Base(f.Name) {
			return nil, fmt.Errorf("its record names %q", f.Name)
		}
		now, err := sumFile(filepath.Join(e.path(key.name()), f.Name))
		if err != nil {
			return nil, err
		}
		if now != f {
			return nil, fmt.Errorf("%s isn't as it was written", f.Name)
		}
	}
	return r, nil
}

// sumFile reads a file; it is on disk once this returns.
func sumFile(path string) (engineFile, error) {
	out := engineFile{Name: filepath.Base(path)}
	f, err := os.Open(path)
	if err != nil {
		return out, err
	}
	defer f.Close()
	h := sha256.New()
	if out.Size, err = io.Copy(h, f); err != nil {
		return out, err
	}
	out.SHA256 = hex.EncodeToString(h.Sum(nil))
	return out, f.Sync()
}

// seal makes an engine of what was built: from its rename on it is there whole.
func (e Engines) seal(key engineKey, took time.Duration, steps whole.Steps) (*engineRecord, error) {
	r := &engineRecord{Key: key, Took: took}
	from := e.path(key.name() + building)
	entries, err := os.ReadDir(from) // sorted by name
	if err != nil {
		return nil, err
	}
	for _, f := range entries {
		if !f.Type().IsRegular() || f.Name() == recordFile {
			continue
		}
		sum, err := sumFile(filepath.Join(from, f.Name()))
		if err != nil {
			return nil, err
		}
		r.Files = append(r.Files, sum)
	}
	if !slices.ContainsFunc(r.Files, func(f engineFile) bool { return strings.HasSuffix(f.Name, ".engine") && f.Size > 0 }) {
		return nil, errNoEngine
	}
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return nil, err
	}
	if err := steps.Write(filepath.Join(from, recordFile), b, 0o600); err != nil {
		return nil, err
	}
	if err := e.remove(key.name()); err != nil { // one that was no good
		return nil, err
	}
	return r, steps.Rename(from, e.path(key.name()))
}

// errNoEngine is told where TensorRT took on nothing of a model.
var errNoEngine = errors.New("TensorRT computes no part of this model")

// remove takes a folder away at once, and then its files.
func (e Engines) remove(name string) error {
	err := os.Rename(e.path(name), e.path(name+gone))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		// A folder that is half removed is in the way.
		err = errors.Join(os.RemoveAll(e.path(name+gone)), os.Rename(e.path(name), e.path(name+gone)))
	}
	if err != nil {
		return err
	}
	return os.RemoveAll(e.path(name + gone))
}

// lock opens and locks a file of the folder; nil without an error if somebody has
// it and how asks not to wait.
func (e Engines) lock(name string, how int) (*os.File, error) {
	for {
		f, err := os.OpenFile(e.path(name), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		err = unix.EINTR
		for errors.Is(err, unix.EINTR) {
			err = unix.Flock(int(f.Fd()), how)
		}
		var st unix.Stat_t
		switch {
		case errors.Is(err, unix.EWOULDBLOCK):
			return nil, f.Close()
		case err != nil:
			return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
		case unix.Fstat(int(f.Fd()), &st) == nil && st.Nlink > 0:
			return f, nil
		}
		_ = f.Close() // it was removed meanwhile: nothing was written to it
	}
}

// kept is an engine in the folder.
type kept struct {
	name string
	size int64
	used time.Time
}

// list is all engines, the longest unused first.
func (e Engines) list() ([]kept, error) {
	entries, err := os.ReadDir(e.Dir)
	var all []kept
	for _, d := range entries {
		if !isKey(d.Name()) {
			continue
		}
		st, err := os.Stat(filepath.Join(e.path(d.Name()), recordFile))
		if err != nil {
			continue // it is removed just now
		}
		if r, err := e.record(d.Name()); err == nil {
			all = append(all, kept{d.Name(), r.size(), st.ModTime()})
		}
	}
	slices.SortFunc(all, func(a, b kept) int { return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.name, b.name)) })
	return all, err
}

// prune removes what power cuts left, and engines that weren't used for longest until
// the rest keeps the limit. What somebody uses, loads or builds stays.
func (e Engines) prune() error {
	entries, err := os.ReadDir(e.Dir)
	for _, d := range entries {
		if _, damage := e.record(d.Name()); isKey(d.Name()) && damage != nil {
			err = errors.Join(err, e.unlessUsed(d.Name(), func() error { return e.drop(d.Name()) }))
		}
		for _, end := range []string{building, gone, opened} {
			if key, left := strings.CutSuffix(d.Name(), end); left {
				err = errors.Join(err, e.unlessUsed(key, func() error { return os.RemoveAll(e.path(d.Name())) }))
			}
		}
		if key, lock := strings.CutSuffix(d.Name(), loadLock); lock && isKey(key) && !e.has(key) {
			err = errors.Join(err, e.unlessUsed(key, func() error { return e.drop(key) }))
		}
	}
	all, lerr := e.list()
	err = errors.Join(err, lerr)
	total := int64(0)
	for _, k := range all {
		total += k.size
	}
	for _, k := range all {
		if total <= cmp.Or(e.Limit, defaultEngines) {
			break
		}
		err = errors.Join(err, e.unlessUsed(k.name, func() error {
			total -= k.size
			return e.drop(k.name)
		}))
	}
	return err
}

// has tells whether there is a folder of that key.
func (e Engines) has(key string) bool {
	_, err := os.Lstat(e.path(key))
	return err == nil
}

// drop removes an engine with its locks, for who holds those.
func (e Engines) drop(key string) error {
	return errors.Join(e.remove(key), os.Remove(e.path(key+loadLock)), os.Remove(e.path(key+useLock)))
}

// unlessUsed runs f while nobody else uses, loads or builds the engine of that key.
func (e Engines) unlessUsed(key string, f func() error) error {
	for _, end := range []string{loadLock, useLock} {
		lock, err := e.lock(key+end, unix.LOCK_EX|unix.LOCK_NB)
		if lock == nil {
			return err
		}
		defer lock.Close()
	}
	return f()
}
