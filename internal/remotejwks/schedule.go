package remotejwks

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// minRefresh is the shortest time between two fetches that a server can ask for with Cache-Control.
	minRefresh = time.Minute
	// minRetry and maxRetry bound the time from a failed fetch to the next.
	minRetry = time.Second
	maxRetry = time.Minute
	// jitterShare is the part of a wait that is left to chance, so that replicas and issuers do not fetch in step.
	jitterShare = 0.1
	// unlimited stands for an answer without Cache-Control: max-age.
	unlimited = time.Duration(-1)
)

// refreshAfter says how long after a fetch the next is due. maxAge is what the server allows, or unlimited; chance is
// from 0 to 1. Twice within MaxStaleness is the least: one lost fetch must not make a set stale.
func refreshAfter(source Source, maxAge time.Duration, chance float64) time.Duration {
	wait := source.RefreshInterval
	if maxAge != unlimited {
		wait = min(wait, maxAge)
	}
	wait = max(jittered(wait, chance), minRefresh)
	return min(wait, source.MaxStaleness/2)
}

// retryAfter says how long after the given number of failures in a row the next fetch is due: 1s, 2s, 4s to 1m.
func retryAfter(failures int, chance float64) time.Duration {
	wait := maxRetry
	if doublings := failures - 1; doublings < 6 {
		wait = minRetry << doublings
	}
	return max(jittered(wait, chance), minRetry)
}

// jittered shortens the wait by up to jitterShare. It never lengthens it: a server's max-age is a promise to keep.
func jittered(wait time.Duration, chance float64) time.Duration {
	return wait - time.Duration(float64(wait)*jitterShare*chance)
}

// maxAge is how long the answer stays fresh: Cache-Control: max-age less Age (RFC 9111 sections 4.2.1 and 4.2.3).
func maxAge(header http.Header) time.Duration {
	for _, line := range header.Values("Cache-Control") {
		for directive := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
			if !strings.EqualFold(name, "max-age") {
				continue
			}
			if age, ok := seconds(strings.Trim(value, `"`)); ok {
				spent, _ := seconds(header.Get("Age"))
				return max(age-spent, 0)
			}
		}
	}
	return unlimited
}

// seconds reads delta-seconds (RFC 9111 section 1.2.2), at most a year.
func seconds(text string) (time.Duration, bool) {
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, false
	}
	return time.Duration(min(n, 365*24*3600)) * time.Second, true
}
