package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"
)

const secretWord = "correct horse battery"

func TestHashAndVerify(t *testing.T) {
	h, err := Hash(t.Context(), secretWord)
	if err != nil {
		t.Fatal(err)
	}
	if other, err := Hash(t.Context(), secretWord); err != nil || other == h {
		t.Errorf("two hashes of one password are the same, or %v", err)
	}
	if !strings.HasPrefix(h, "$argon2id$v=19$m=32768,t=3,p=1$") || strings.Contains(h, secretWord) {
		t.Errorf("the hash is %s", h)
	}
	for password, want := range map[string]bool{
		secretWord: true, secretWord + " ": false, "": false, strings.ToUpper(secretWord): false, secretWord + strings.Repeat("x", 300): false,
	} {
		ok, stale, err := Verify(t.Context(), h, password)
		if ok != want || stale || err != nil {
			t.Errorf("%q: %v %v %v", password, ok, stale, err)
		}
	}
}

// A hash of another cost is right, and told to be stale, so that it is renewed.
func TestVerifyOfAnotherCost(t *testing.T) {
	salt := []byte("0123456789abcdef")
	old := fmt.Sprintf("$argon2id$v=19$m=64,t=1,p=1$%s$%s", b64.EncodeToString(salt), b64.EncodeToString(argon2.IDKey([]byte(secretWord), salt, 1, 64, 1, 32)))
	if ok, stale, err := Verify(t.Context(), old, secretWord); !ok || !stale || err != nil {
		t.Errorf("%v %v %v", ok, stale, err)
	}
	if ok, stale, err := Verify(t.Context(), old, "wrong"); ok || stale || err != nil {
		t.Errorf("a wrong one: %v %v %v", ok, stale, err)
	}
}

// Who has no hash has no password, the one of the decoy least of all, and it
// takes as long to say so.
func TestNobodyCostsAsMuch(t *testing.T) {
	h, err := Hash(t.Context(), secretWord)
	if err != nil {
		t.Fatal(err)
	}
	took := func(hash string) time.Duration {
		best := time.Hour
		for range 5 {
			begin := time.Now()
			if ok, _, err := Verify(t.Context(), hash, "wrong password"); ok || err != nil {
				t.Fatalf("%v %v", ok, err)
			}
			best = min(best, time.Since(begin))
		}
		return best
	}
	someone, nobody := took(h), took("")
	if ratio := float64(nobody) / float64(someone); ratio < 0.5 || ratio > 2 {
		t.Errorf("a wrong password takes %v, an unknown name %v", someone, nobody)
	}
	if ok, _, err := Verify(t.Context(), "", ""); ok || err != nil {
		t.Errorf("nobody's empty password: %v %v", ok, err)
	}
}

func TestPasswordsOfNoUse(t *testing.T) {
	for _, p := range []string{"", "short", strings.Repeat("x", MaxPassword+1)} {
		if _, err := Hash(t.Context(), p); !errors.Is(err, ErrPassword) {
			t.Errorf("%d bytes: %v", len(p), err)
		}
	}
}

func TestDamagedHashes(t *testing.T) {
	good, err := Hash(t.Context(), secretWord)
	if err != nil {
		t.Fatal(err)
	}
	for name, h := range map[string]string{
		"another kind":    strings.Replace(good, "argon2id", "argon2i", 1),
		"another version": strings.Replace(good, "v=19", "v=16", 1),
		"too much memory": strings.Replace(good, "m=32768", "m=4194304", 1),
		"too many passes": strings.Replace(good, "t=3", "t=4000000", 1),
		"no lane":         strings.Replace(good, "p=1", "p=0", 1),
		"no pass":         strings.Replace(good, "t=3", "t=0", 1),
		"cost padded":     strings.Replace(good, "t=3", "t=03", 1),
		"cut":             good[:len(good)-20],
		"not base64":      good[:len(good)-1] + "!",
		"more":            good + "$",
		"none":            "x",
	} {
		if ok, _, err := Verify(t.Context(), h, secretWord); ok || err == nil || strings.Contains(err.Error(), good[40:]) {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
}

func FuzzParsePHC(f *testing.F) {
	f.Add("$argon2id$v=19$m=32768,t=3,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parsePHC(text)
		if err == nil && (h.String() != text || h.memory > maxMemoryKiB || h.passes > maxPasses || h.lanes > maxLanes) {
			t.Errorf("%q was read as %+v", text, h)
		}
	})
}

// A flood of logins gets two hashes' memory and a bounded queue, and who gives
// up waiting leaves it.
func TestFloodIsBounded(t *testing.T) {
	hashing <- struct{}{}
	hashing <- struct{}{} // both places are taken
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	errs := make(chan error, 2*maxWaiting)
	for range 2 * maxWaiting {
		wg.Go(func() {
			_, _, err := Verify(ctx, "", "x")
			errs <- err
		})
	}
	for range maxWaiting {
		if err := <-errs; !errors.Is(err, ErrBusy) {
			t.Fatalf("%v, want busy", err)
		}
	}
	cancel()
	wg.Wait()
	for range maxWaiting {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Fatalf("%v, want canceled", err)
		}
	}
	<-hashing
	<-hashing
	if n := waiting.Load(); n != 0 {
		t.Errorf("%d still wait", n)
	}
}

func BenchmarkVerify(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Verify(b.Context(), "", "x"); err != nil {
			b.Fatal(err)
		}
	}
}
