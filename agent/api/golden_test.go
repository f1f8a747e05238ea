package api

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

// TestGolden: an archive is larger than what other requests may bring, and no
// other machine may have the device run a model.
func TestGolden(t *testing.T) {
	m := newMemory(following("station1", Committed))
	s := newServer(t, m)
	archive := strings.Repeat("x", 300<<10)
	const path = "/v1/golden?picture=golden/a.jpg&picture=golden/b.jpg"
	w := send(t, s, path, archive)
	if want := "golden/a.jpg golden/b.jpg:" + archive; w.Code != http.StatusOK || w.Body.String() != want {
		t.Fatalf("%d, %d bytes, want %d", w.Code, w.Body.Len(), len(want))
	}
	for _, header := range [][]string{{"From", "192.0.2.7:99"}, {"X-Forwarded-For", "192.0.2.7"}, {"Sec-Fetch-Site", "cross-site"}} {
		if w := send(t, s, path, archive, header...); w.Code != http.StatusForbidden {
			t.Errorf("with %v: %d %s", header, w.Code, w.Body)
		}
	}
	if w := send(t, s, "/v1/golden", archive); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("without pictures: %d %s", w.Code, w.Body)
	}
	for _, c := range []struct {
		err  error
		code int
	}{{ErrNoGolden, http.StatusNotFound}, {errors.New("manifest.yaml: it is odd"), http.StatusUnprocessableEntity}} {
		m.refusal = c.err
		if w := send(t, s, path, archive); w.Code != c.code || !strings.Contains(w.Body.String(), c.err.Error()) {
			t.Errorf("%v: %d %s", c.err, w.Code, w.Body)
		}
	}
}
