package main

import "slices"

// cover chooses at most count candidates so that they see as many mutants as a
// greedy choice can; sees is by mutant, by candidate. When all that can be seen is
// seen, the next candidates are those that see what few of the chosen do. Among the
// chosen are two verdicts at least, where candidates have them and count allows.
func cover(sees [][]bool, verdicts []string, count int) []int {
	var chosen []int
	times := make([]int, len(sees)) // that each mutant is seen by the chosen
	add := func(c int) {
		chosen = append(chosen, c)
		for m := range sees {
			if sees[m][c] {
				times[m]++
			}
		}
	}
	best := func(may func(c int) bool) int {
		at, most := -1, -1.0
		for c := range verdicts {
			if slices.Contains(chosen, c) || !may(c) {
				continue
			}
			if gain := gain(sees, times, c); gain > most {
				at, most = c, gain
			}
		}
		return at
	}
	for len(chosen) < count {
		last := len(chosen) == count-1 && count > 1
		alike := !slices.ContainsFunc(chosen, func(c int) bool { return verdicts[c] != verdicts[chosen[0]] })
		c := -1
		if last && alike {
			c = best(func(c int) bool { return verdicts[c] != verdicts[chosen[0]] })
		}
		if c < 0 {
			c = best(func(int) bool { return true })
		}
		if c < 0 {
			break
		}
		add(c)
	}
	return chosen
}

// gain is what a candidate is worth: one for each mutant that nobody sees yet, and a
// little for those that few see.
func gain(sees [][]bool, times []int, c int) float64 {
	g := 0.0
	for m := range sees {
		switch {
		case !sees[m][c]:
		case times[m] == 0:
			g++
		default:
			g += 1 / float64(len(sees)*(1+times[m]))
		}
	}
	return g
}
