package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// maxDepth bounds nesting; real metadata has less than ten levels.
const maxDepth = 32

// head is what all metadata has in common, with what go-tuf takes for granted.
type head struct {
	Signed struct {
		Type    string    `json:"_type"`
		Spec    string    `json:"spec_version"`
		Version int64     `json:"version"`
		Expires time.Time `json:"expires"`

		Roles map[string]struct {
			Threshold int      `json:"threshold"`
			KeyIDs    []string `json:"keyids"`
		} `json:"roles"`
		Meta        map[string]struct{ Version int64 } `json:"meta"`
		Delegations *struct {
			Roles []struct{ Name string } `json:"roles"`
		} `json:"delegations"`
	} `json:"signed"`
	Signatures []struct {
		KeyID string `json:"keyid"`
		Sig   string `json:"sig"`
	} `json:"signatures"`
}

func headOf(data []byte) (*head, error) {
	var h head
	if err := json.Unmarshal(data, &h); err != nil {
		return nil, fmt.Errorf("it is no metadata: %w", err)
	}
	return &h, nil
}

// shape refuses what go-tuf would stumble over before it looks at a signature
// (null in place of an object, a timestamp that names no snapshot), and what
// two readers could read in two ways (a key that stands twice).
func shape(data []byte, kind string) error {
	if err := strict(data); err != nil {
		return err
	}
	h, err := headOf(data)
	if err != nil {
		return err
	}
	if err := h.check(kind); err != nil {
		return err
	}
	switch kind {
	case metadata.ROOT:
		return asWritten[metadata.RootType](data)
	case metadata.TIMESTAMP:
		return asWritten[metadata.TimestampType](data)
	case metadata.SNAPSHOT:
		return asWritten[metadata.SnapshotType](data)
	}
	return asWritten[metadata.TargetsType](data)
}

// asWritten refuses text that isn't what go-tuf reads from it. Signatures are
// verified over what was read, so that without this a hash could be written in
// capitals, and whoever reads the text itself would read what nobody signed.
func asWritten[T metadata.Roles](data []byte) error {
	var raw struct {
		Signed json.RawMessage `json:"signed"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return fmt.Errorf("it is no metadata: %w", err)
	}
	m, err := new(metadata.Metadata[T]).FromBytes(data)
	if err != nil {
		return fmt.Errorf("it is no metadata: %w", err)
	}
	read, err := cjson.EncodeCanonical(m.Signed)
	if err != nil {
		return fmt.Errorf("it has no canonical form: %w", err)
	}
	written, err := cjson.EncodeCanonical(raw.Signed)
	if err != nil {
		return fmt.Errorf("it has no canonical form: %w", err)
	}
	if !bytes.Equal(read, written) {
		return errors.New("it is written otherwise than it is read: a number, a date or a hash isn't in its one form")
	}
	return nil
}

// check looks at what each kind must have.
func (h *head) check(kind string) error {
	s := &h.Signed
	switch {
	case s.Type != kind:
		return fmt.Errorf("it is of type %q, %s is expected", s.Type, kind)
	case !strings.HasPrefix(s.Spec, "1."):
		return fmt.Errorf("it follows version %q of the specification: this program knows 1", s.Spec)
	case s.Version < 1:
		return fmt.Errorf("its version is %d", s.Version)
	case s.Expires.IsZero():
		return errors.New("it doesn't say how long it is good")
	}
	switch kind {
	case metadata.ROOT:
		for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
			if r, ok := s.Roles[role]; !ok || r.Threshold < 1 {
				return fmt.Errorf("it gives no threshold of at least 1 to the role %s", role)
			}
		}
	case metadata.TIMESTAMP:
		if m, ok := s.Meta[SnapshotFile]; !ok || m.Version < 1 {
			return fmt.Errorf("it names no version of %s", SnapshotFile)
		}
	case metadata.SNAPSHOT:
		for name, m := range s.Meta {
			if m.Version < 1 {
				return fmt.Errorf("it names version %d of %s", m.Version, name)
			}
		}
	case metadata.TARGETS:
		return delegationNames(h)
	}
	return nil
}

// delegationNames refuses a delegated role that would stand in the place of a
// top-level one, on disk or in go-tuf's tables.
func delegationNames(h *head) error {
	if h.Signed.Delegations == nil {
		return nil
	}
	for _, r := range h.Signed.Delegations.Roles {
		if err := roleName(r.Name); err != nil {
			return err
		}
	}
	return nil
}

func roleName(name string) error {
	switch name {
	case "", metadata.ROOT, metadata.TIMESTAMP, metadata.SNAPSHOT, metadata.TARGETS:
		return fmt.Errorf("it delegates to a role named %q", name)
	}
	if len(FileName(name)) > 200 {
		return fmt.Errorf("it delegates to a role whose name has %d bytes", len(name))
	}
	return nil
}

// strict walks the JSON text: one value, no null, no key twice in an object.
func strict(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var open []map[string]bool // keys of the open objects; nil for an array
	wantKey := false
	for {
		t, err := d.Token()
		if err != nil {
			return fmt.Errorf("it is no JSON: %w", noEOF(err))
		}
		switch v := t.(type) {
		case nil:
			return errors.New("it holds null")
		case json.Delim:
			if v == '{' || v == '[' {
				if len(open) == maxDepth {
					return fmt.Errorf("it is nested more than %d deep", maxDepth)
				}
				var keys map[string]bool
				if v == '{' {
					keys = map[string]bool{}
				}
				open = append(open, keys)
				wantKey = v == '{'
				continue
			}
			open = open[:len(open)-1]
		case string:
			if wantKey {
				if open[len(open)-1][v] {
					return fmt.Errorf("%q stands twice in one object", v)
				}
				open[len(open)-1][v] = true
				wantKey = false
				continue
			}
		}
		if len(open) == 0 {
			if _, err := d.Token(); !errors.Is(err, io.EOF) {
				return errors.New("something follows the metadata")
			}
			return nil
		}
		wantKey = open[len(open)-1] != nil
	}
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
