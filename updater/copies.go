package updater

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// copies is a small record on disk in two generations, <path>.a and <path>.b.
// A save overwrites the older one, so that whatever becomes of that, a torn
// write, a disk that is full, a sector that can't be read, the newer one is
// untouched; the newest that is whole counts. The first save makes both.
//
// A copy is copySize bytes: a line with the format, the generation, the
// body's length and the CRC-32C of all that but itself, the body, and line
// feeds. It is text, for people who look.
type copies struct {
	disk  disk
	name  string // for the tests' points and errors
	path  string
	gen   uint64 // of the newest copy; 0 for none
	older int    // which one the next save overwrites
	alone bool   // there aren't two, so that the next save makes both
}

const (
	copySize   = 32 << 10
	copyHeader = "sightline-update 1 gen %d len %d crc %08x\n"
)

var (
	castagnoli   = crc32.MakeTable(crc32.Castagnoli)
	copySuffixes = [2]string{".a", ".b"}
	errLost      = errors.New("both copies are damaged")
)

// load gives the newest body, nil if nothing was ever saved, or errLost.
func (c *copies) load() ([]byte, error) {
	var best []byte
	var there int
	var faults []error
	c.gen, c.older = 0, 0
	for i, suffix := range copySuffixes {
		gen, body, err := readCopy(c.path+suffix, c.name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		there++
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if gen > c.gen {
			c.gen, best, c.older = gen, body, 1-i
		}
	}
	c.alone = there < len(copySuffixes)
	if best == nil && !c.alone { // with one only, its save never ended
		c.alone = true // the next save replaces both
		return nil, fmt.Errorf("read %s: %w: %w", c.name, errLost, errors.Join(faults...))
	}
	return best, nil
}

// save returns once the body is on the disk. After an error either the one
// before or this one is found again.
func (c *copies) save(body []byte) error {
	gen := c.gen + 1
	if err := c.write(c.older, gen, body); err != nil {
		return fmt.Errorf("write %s: %w", c.name, err)
	}
	c.gen, c.older = gen, 1-c.older
	if c.alone {
		if err := c.write(c.older, gen, body); err != nil {
			return fmt.Errorf("write %s: %w", c.name, err)
		}
		c.alone = false
	}
	return nil
}

func (c *copies) write(which int, gen uint64, body []byte) error {
	head := fmt.Sprintf(copyHeader, gen, len(body), copySum(c.name, gen, body))
	if len(head)+len(body) > copySize {
		return fmt.Errorf("it has %d bytes, at most %d have room", len(head)+len(body), copySize)
	}
	b := bytes.Repeat([]byte("\n"), copySize)
	copy(b[copy(b, head):], body)
	suffix := copySuffixes[which]
	return c.disk.overwrite(c.name+suffix, c.path+suffix, b)
}

// copySum covers the name too: a file under another's name is damaged.
func copySum(name string, gen uint64, body []byte) uint32 {
	b := binary.LittleEndian.AppendUint64([]byte(name), gen)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(body)))
	return crc32.Update(crc32.Checksum(b, castagnoli), castagnoli, body)
}

func readCopy(path, name string) (gen uint64, body []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, copySize))
	if err != nil {
		return 0, nil, err
	}
	head, rest, _ := bytes.Cut(b, []byte("\n"))
	var length int
	var sum uint32
	_, err = fmt.Sscanf(string(head)+"\n", copyHeader, &gen, &length, &sum)
	if err != nil || length < 0 || length > len(rest) || gen == 0 || string(head)+"\n" != fmt.Sprintf(copyHeader, gen, length, sum) {
		return 0, nil, fmt.Errorf("%s: its first line isn't one", path)
	}
	if body = rest[:length]; copySum(name, gen, body) != sum {
		return 0, nil, fmt.Errorf("%s: its checksum is wrong", path)
	}
	return gen, body, nil
}
