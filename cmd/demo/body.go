package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxBody bounds the body of an order.
const maxBody = 64 << 10

// readOrder reads the body of POST /orders, or says in a problem what is wrong with it.
func readOrder(w http.ResponseWriter, r *http.Request) (CreateOrder, error) {
	var body struct {
		ProductID string `json:"productId"`
		Quantity  int    `json:"quantity"`
	}
	// It is read whole before it is looked at, so that too much is too much wherever the JSON in it ends.
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return CreateOrder{}, bodyProblem(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&body); err != nil {
		return CreateOrder{}, bodyProblem(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return CreateOrder{}, newProblem(http.StatusBadRequest, "the body goes on after the order")
	}
	if strings.TrimSpace(body.ProductID) == "" {
		return CreateOrder{}, newProblem(http.StatusBadRequest, "productId is empty")
	}
	if body.Quantity < 1 {
		return CreateOrder{}, newProblem(http.StatusBadRequest, "quantity is below 1")
	}
	return CreateOrder{ProductID: body.ProductID, Quantity: body.Quantity}, nil
}

// bodyProblem says what is wrong in the client's terms, not in those of a Go decoder.
func bodyProblem(err error) *problem {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return newProblem(http.StatusRequestEntityTooLarge, detailTooLarge)
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if wrong.Field == "" {
			return newProblem(http.StatusBadRequest, "the body is not a JSON object")
		}
		return newProblem(http.StatusBadRequest, fmt.Sprintf("%s cannot be a %s", wrong.Field, wrong.Value))
	}
	// The decoder has no type for this one.
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return newProblem(http.StatusBadRequest, "unknown field "+field)
	}
	return newProblem(http.StatusBadRequest, "the body is not valid JSON")
}
