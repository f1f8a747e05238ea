package journal

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"os"
)

// bbolt's meta pages: a page header, then the fields below in the machine's
// byte order.
const (
	metaMagic   = 0xED0CDAED
	metaVersion = 2
	metaSum     = 56 // offset of the checksum, FNV-1a of what stands before it
	metaSize    = 64
)

// meta is what a valid meta page says.
type meta struct {
	pageSize uint64 // bytes
	root     uint64 // page of the outermost bucket
	pages    uint64 // how many the file must hold
	tx       uint64 // the commit that wrote it
}

// checkFile reads the file without mapping it and refuses one that bbolt
// would map and then fall over: one shorter than its meta page says, or with a
// page that can't be. It reads every page, as bbolt will.
func checkFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	m, err := newestMeta(f)
	if err != nil {
		return err
	}
	if m == nil {
		return bad("%s has no valid meta page, its %d bytes are no journal", path, info.Size())
	}
	if have := uint64(info.Size()); m.pageSize < 1024 || m.pageSize > 1<<20 || have/m.pageSize < m.pages {
		return bad("%s is cut: it has %d bytes, its meta page says %d pages of %d", path, have, m.pages, m.pageSize)
	}
	return checkPages(f, *m)
}

// newestMeta is the valid meta page of the newest commit; nil if none is
// valid, and an error only if the file can't be read.
func newestMeta(f io.ReaderAt) (*meta, error) {
	var newest *meta
	for _, at := range []int64{0, int64(os.Getpagesize())} {
		b := make([]byte, metaSize)
		if _, err := f.ReadAt(b, at+pageHeader); errors.Is(err, io.EOF) {
			continue
		} else if err != nil {
			return nil, err
		}
		h := fnv.New64a()
		_, _ = h.Write(b[:metaSum]) // a hash takes everything
		e := binary.NativeEndian
		if e.Uint32(b) != metaMagic || e.Uint32(b[4:]) != metaVersion || e.Uint64(b[metaSum:]) != h.Sum64() {
			continue
		}
		m := &meta{pageSize: uint64(e.Uint32(b[8:])), root: e.Uint64(b[16:]), pages: e.Uint64(b[40:]), tx: e.Uint64(b[48:])}
		if newest == nil || m.tx > newest.tx {
			newest = m
		}
	}
	return newest, nil
}
