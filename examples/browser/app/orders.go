package app

import (
	"net/http"
	"net/url"
)

// order is what the application is about.
type order struct {
	Number int    `json:"number"`
	Item   string `json:"item"`
	Status string `json:"status"`
}

// orders is the application itself. It has nothing to do with tokens: the gateway says who calls.
func orders(w http.ResponseWriter, r *http.Request) {
	subject, err := url.PathUnescape(r.Header.Get("X-Auth-Subject"))
	if err != nil || subject == "" {
		http.Error(w, "the gateway does not say who calls", http.StatusInternalServerError)
		return
	}
	writeJSON(w, http.StatusOK, struct {
		Customer string  `json:"customer"`
		Orders   []order `json:"orders"`
	}{subject, []order{{1041, "Bicycle bell", "delivered"}, {1077, "Rain jacket", "on its way"}}})
}
