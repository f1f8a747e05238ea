package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Goals without a limit, by what is better.
const (
	toldLess = "told"
	toldMore = "told >="
)

// goal reads ">= x", "<= x", or what has no limit.
func goal(s string) (op string, limit float64, err error) {
	if s == toldLess || s == toldMore {
		return "told", 0, nil
	}
	op, number, ok := strings.Cut(s, " ")
	limit, numErr := strconv.ParseFloat(number, 64)
	if !ok || op != ">=" && op != "<=" || numErr != nil {
		return "", 0, fmt.Errorf("goal %q is none of \">= x\", \"<= x\", \"told\", \"told >=\"", s)
	}
	return op, limit, nil
}

// judge says whether a row keeps its goal, in the word of the table.
func judge(r Row) string {
	op, limit, err := goal(r.Goal)
	switch {
	case err != nil:
		return "?"
	case op == "told":
		return ""
	case op == ">=" && r.Ratio >= limit, op == "<=" && r.Ratio <= limit:
		return "kept"
	}
	return "MISSED"
}

// worst is the ratio that is worst for us: the smallest where more is better,
// else the largest.
func worst(ratios []float64, g string) float64 {
	if strings.HasPrefix(g, ">=") || g == toldMore {
		return slices.Min(ratios)
	}
	return slices.Max(ratios)
}

// checkRow refuses what JSON or a reader can't do anything with.
func checkRow(f Figure, r Row) error {
	if !f.owns(r.ID) {
		return fmt.Errorf("row %q is not of figure %s: its id must be that or begin with %s/", r.ID, f.ID, f.ID)
	}
	if _, _, err := goal(r.Goal); err != nil {
		return fmt.Errorf("row %s: %w", r.ID, err)
	}
	if r.What == "" {
		return fmt.Errorf("row %s doesn't say what it measures", r.ID)
	}
	for _, x := range []float64{r.Ours, r.Bare, r.Ratio, r.Worst, r.Noise} {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("row %s has a number that is none: %+v", r.ID, r)
		}
	}
	return nil
}
