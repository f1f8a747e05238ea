package score

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// Share is K of N pictures (or parts, pixels): a rate that knows how many it was
// counted on. Its bounds are those of Clopper and Pearson (1934): they hold at
// any rate and any n. Wilson's interval, shorter on average, covers the truth
// less often than it says just where it matters here, at no or few escapes.
type Share struct {
	K int `json:"k"`
	N int `json:"n"`
}

// MarshalJSON writes the counts with the rate (null of none), the two-sided
// interval, and the one-sided bounds; only the counts are read back.
func (s Share) MarshalJSON() ([]byte, error) {
	type counts Share
	out := struct {
		counts
		Rate    *float64 `json:"rate"`
		Low     float64  `json:"low"`
		High    float64  `json:"high"`
		AtLeast float64  `json:"at_least"`
		AtMost  float64  `json:"at_most"`
	}{counts: counts(s), AtLeast: s.AtLeast(), AtMost: s.AtMost()}
	out.Low, out.High = s.Interval()
	if rate := s.Rate(); !math.IsNaN(rate) {
		out.Rate = &rate
	}
	return json.Marshal(out)
}

// Rate is k/n, NaN for none.
func (s Share) Rate() float64 {
	if s.N <= 0 {
		return math.NaN()
	}
	return float64(s.K) / float64(s.N)
}

// AtMost is the upper end of the one-sided 95 % interval of the rate; of 0 of n
// it is 1-0.05^(1/n), about 3/n. 1 for no pictures.
func (s Share) AtMost() float64 { return s.upper(0.05) }

// AtLeast is the lower end of the one-sided 95 % interval; 0 for no pictures.
func (s Share) AtLeast() float64 { return s.lower(0.05) }

// Interval is the two-sided 95 % interval.
func (s Share) Interval() (low, high float64) { return s.lower(0.025), s.upper(0.025) }

// upper is the rate at which so few are seen with probability alpha.
func (s Share) upper(alpha float64) float64 {
	if s.N <= 0 || s.K >= s.N {
		return 1
	}
	if s.K <= 0 {
		return -math.Expm1(math.Log(alpha) / float64(s.N))
	}
	// At most k of n at the rate p: I of 1-p with n-k and k+1.
	a, b := float64(s.N-s.K), float64(s.K+1)
	return bisect(s.Rate(), 1, func(p float64) bool { return betaShare(1-p, a, b) > alpha })
}

// lower is the rate at which so many are seen with probability alpha.
func (s Share) lower(alpha float64) float64 {
	if s.N <= 0 {
		return 0
	}
	return 1 - Share{s.N - s.K, s.N}.upper(alpha)
}

// bisect is the end of the rates from low on for which ok holds.
func bisect(low, high float64, ok func(float64) bool) float64 {
	for range 60 {
		if mid := (low + high) / 2; ok(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}

// betaShare is the regularised incomplete beta function I of x, 0 < x < 1, with a
// and b more than 0 (DLMF 8.17.22, its continued fraction from the front by
// Lentz's method as Thompson and Barnett amended it, 1986).
func betaShare(x, a, b float64) float64 {
	if x > (a+1)/(a+b+2) { // there the other side's fraction ends sooner
		return 1 - betaShare(1-x, b, a)
	}
	const tiny = 1e-300
	keep := func(v float64) float64 {
		if math.Abs(v) < tiny {
			return tiny
		}
		return v
	}
	f, c, d := 1.0, 1.0, 0.0
	for i := 1; i < 100000; i++ {
		m := float64(i / 2)
		term := m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		if i%2 == 1 {
			term = -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		}
		c = keep(1 + term/c)
		d = 1 / keep(1+term*d)
		f *= c * d
		if math.Abs(c*d-1) < 1e-15 {
			break
		}
	}
	gab, _ := math.Lgamma(a + b)
	ga, _ := math.Lgamma(a)
	gb, _ := math.Lgamma(b)
	return math.Exp(gab-ga-gb+a*math.Log(x)+b*math.Log1p(-x)) / (a * f)
}

// String is what may be said of something that should be rare: "0 of 412, ≤ 0.7 %
// at 95 %".
func (s Share) String() string {
	if s.N <= 0 {
		return "0 of 0"
	}
	return fmt.Sprintf("%d of %d, ≤ %s %% at 95 %%", s.K, s.N, percent(s.AtMost()))
}

// Least is what may be said of something that should be common: "412 of 412,
// ≥ 99.3 % at 95 %".
func (s Share) Least() string {
	if s.N <= 0 {
		return "0 of 0"
	}
	return fmt.Sprintf("%d of %d, ≥ %s %% at 95 %%", s.K, s.N, percent(s.AtLeast()))
}

// percent has one decimal, or as many as show a figure that isn't 0 or 100.
func percent(share float64) string {
	v, digits := 100*share, 1
	for small := min(v, 100-v); small > 0 && small*math.Pow10(digits) < 0.95 && digits < 9; {
		digits++
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

// needed is how many pictures without an event it takes to say that the rate is
// at most this, at 95 %.
func needed(rate float64) int {
	if rate <= 0 {
		return math.MaxInt32
	}
	if rate >= 0.95 {
		return 1
	}
	return int(math.Ceil(math.Log(0.05) / math.Log1p(-rate)))
}
