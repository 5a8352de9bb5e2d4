package replicas

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// Position is how far a replica has applied the TokenRevocations: for each watch, named by its namespace ("" for all
// namespaces), the resource version of the latest event that is in force; empty where there was none yet. Resource
// versions of one kind can be compared (KEP-5504).
type Position map[string]string

// Reached says whether the version of an object in this namespace is in force. A replica that does not watch the
// namespace knows no issuer in it and accepts no token of one, so there is nothing that it could have missed.
func (p Position) Reached(namespace, version string) bool {
	at, watched := p[namespace]
	if !watched {
		if at, watched = p[""]; !watched {
			return true
		}
	}
	order, err := resourceversion.CompareResourceVersion(at, version)
	return err == nil && order >= 0
}

// advance takes note of an event. The events of one watch come in order, but for those of a list.
func (p Position) advance(namespace, version string) {
	if order, err := resourceversion.CompareResourceVersion(p[namespace], version); err != nil || order < 0 {
		p[namespace] = version
	}
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
