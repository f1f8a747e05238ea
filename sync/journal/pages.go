package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// bbolt's page layout, version 2, in the machine's byte order. A page: number
// u64, kind u16, count u16, further pages u32, then count elements of 16
// bytes. A branch's element: offset u32 from its own start, key's length u32,
// page u64. A leaf's: flags u32, offset u32, lengths of key and value u32
// each. A bucket is a leaf's value: its root page u64 (0: the page follows
// within the value) and sequence u64.
const (
	pageHeader    = 16
	elementSize   = 16
	kindBranch    = 0x01
	kindLeaf      = 0x02
	isBucket      = 0x01
	bucketHeader  = 16
	maxDepth      = 64
	maxPageBytes  = 1 << 28
	firstDataPage = 2 // after the two meta pages
)

// walker follows every page that the newest commit reaches. bbolt does the
// same when it opens the file, but in a goroutine of its own, where a wrong
// page ends the process; here it is an error.
type walker struct {
	file     io.ReaderAt
	pageSize uint64
	pages    uint64   // how many the file holds
	seen     []uint64 // a bit for each
}

// checkPages walks from the root page.
func checkPages(file io.ReaderAt, m meta) error {
	w := &walker{file: file, pageSize: m.pageSize, pages: m.pages, seen: make([]uint64, m.pages/64+1)}
	return w.walk(m.root, 0, span{})
}

// span is where a page's keys must lie: from least on, below end; nil is
// without limit. Within a page they ascend.
type span struct{ least, end []byte }

// next checks the key that follows last, which is nil for the first.
func (s span) next(last, key []byte) bool {
	if last == nil {
		last = s.least
		if bytes.Compare(key, last) < 0 {
			return false
		}
	} else if bytes.Compare(key, last) <= 0 {
		return false
	}
	return s.end == nil || bytes.Compare(key, s.end) < 0
}

func (w *walker) walk(id uint64, depth int, keys span) error {
	if depth > maxDepth {
		return bad("page %d lies %d levels deep", id, depth)
	}
	b, err := w.read(id)
	if err != nil {
		return err
	}
	n := int(binary.NativeEndian.Uint16(b[10:]))
	if pageHeader+n*elementSize > len(b) {
		return bad("page %d has %d elements in %d bytes", id, n, len(b))
	}
	switch kind := binary.NativeEndian.Uint16(b[8:]); {
	case kind == kindBranch && n > 0:
		return w.branch(id, b, n, depth, keys)
	case kind == kindLeaf:
		return w.leaf(id, b, n, depth, keys)
	default:
		return bad("page %d is of kind %#x with %d elements", id, kind, n)
	}
}

func (w *walker) branch(id uint64, b []byte, n, depth int, keys span) error {
	list := make([][]byte, n, n+1)
	var last []byte
	for i := range n {
		e := b[pageHeader+i*elementSize:]
		at, size := uint64(binary.NativeEndian.Uint32(e)), uint64(binary.NativeEndian.Uint32(e[4:]))
		if at+size > uint64(len(e)) {
			return bad("page %d: the key of element %d lies outside", id, i)
		}
		list[i] = e[at : at+size]
		if !keys.next(last, list[i]) {
			return bad("page %d: the key of element %d is out of order", id, i)
		}
		last = list[i]
	}
	list = append(list, keys.end)
	for i := range n {
		child := binary.NativeEndian.Uint64(b[pageHeader+i*elementSize+8:])
		if err := w.walk(child, depth+1, span{list[i], list[i+1]}); err != nil {
			return err
		}
	}
	return nil
}

// leaf checks that all keys and values lie within the page, the keys in order,
// and follows the buckets among them.
func (w *walker) leaf(id uint64, b []byte, n, depth int, keys span) error {
	var last []byte
	for i := range n {
		e := b[pageHeader+i*elementSize:]
		at, k, v := uint64(binary.NativeEndian.Uint32(e[4:])), uint64(binary.NativeEndian.Uint32(e[8:])), uint64(binary.NativeEndian.Uint32(e[12:]))
		if at+k+v > uint64(len(e)) {
			return bad("page %d: element %d lies outside", id, i)
		}
		if !keys.next(last, e[at:at+k]) {
			return bad("page %d: the key of element %d is out of order", id, i)
		}
		last = e[at : at+k]
		if binary.NativeEndian.Uint32(e)&isBucket == 0 {
			continue
		}
		if err := w.bucket(id, e[at+k:at+k+v], depth); err != nil {
			return err
		}
	}
	return nil
}

// bucket follows a bucket to its root page, or to the leaf within the value.
func (w *walker) bucket(id uint64, value []byte, depth int) error {
	if len(value) < bucketHeader {
		return bad("page %d: a bucket is cut", id)
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return w.walk(root, depth+1, span{})
	}
	b := value[bucketHeader:]
	if len(b) < pageHeader || binary.NativeEndian.Uint16(b[8:]) != kindLeaf || depth > maxDepth {
		return bad("page %d: a bucket is no page", id)
	}
	n := int(binary.NativeEndian.Uint16(b[10:]))
	if pageHeader+n*elementSize > len(b) {
		return bad("page %d: a bucket has %d elements in %d bytes", id, n, len(b))
	}
	return w.leaf(id, b, n, depth+1, span{})
}

// read gives a page with the further ones that belong to it, each reached for
// the first time.
func (w *walker) read(id uint64) ([]byte, error) {
	if id < firstDataPage || id >= w.pages {
		return nil, bad("it refers to page %d of %d", id, w.pages)
	}
	b := make([]byte, w.pageSize)
	if _, err := w.file.ReadAt(b, int64(id*w.pageSize)); err != nil {
		return nil, err
	}
	if is := binary.NativeEndian.Uint64(b); is != id {
		return nil, bad("page %d says that it is page %d", id, is)
	}
	more := uint64(binary.NativeEndian.Uint32(b[12:]))
	if id+more >= w.pages || (more+1)*w.pageSize > maxPageBytes {
		return nil, bad("page %d has %d further pages of %d", id, more, w.pages)
	}
	for p := id; p <= id+more; p++ {
		if w.seen[p/64]&(1<<(p%64)) != 0 {
			return nil, bad("page %d is reached twice", p)
		}
		w.seen[p/64] |= 1 << (p % 64)
	}
	if more == 0 {
		return b, nil
	}
	b = append(b, make([]byte, more*w.pageSize)...)
	if _, err := w.file.ReadAt(b[w.pageSize:], int64((id+1)*w.pageSize)); err != nil {
		return nil, err
	}
	return b, nil
}

func bad(format string, args ...any) error { return &damage{fmt.Errorf(format, args...)} }
