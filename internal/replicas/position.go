package replicas

import (
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// Position is how far a replica has applied the TokenRevocations: for each watch, named by its namespace ("" for all
// namespaces), the resource version up to which everything is in force, or, after a "<", the first one that is not; empty
// where there was none yet. Resource versions of one kind can be compared (KEP-5504).
type Position map[string]string

// below marks a version that is not in force itself.
const below = "<"

// Reached says whether the version of an object in this namespace is in force. A replica that does not watch the
// namespace knows no issuer in it and accepts no token of one, so there is nothing that it could have missed.
func (p Position) Reached(namespace, version string) bool {
	at, watched := p[namespace]
	if !watched {
		if at, watched = p[""]; !watched {
			return true
		}
	}
	at, exclusive := strings.CutPrefix(at, below)
	if at == version {
		return version != "" && !exclusive
	}
	order, err := resourceversion.CompareResourceVersion(at, version)
	return err == nil && order > 0
}

// Later reports whether version a came after b. What cannot be compared did.
func Later(a, b string) bool {
	if a == b {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err != nil || order > 0
}

func (p Position) encode() string {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings can always be encoded
	}
	return string(text)
}

func decodePosition(text string) (Position, error) {
	var p Position
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return nil, fmt.Errorf("reading how far a replica has applied the revocations: %w", err)
	}
	return p, nil
}
