"""Deliveries on their way: lanes, claims, settlements, holds, pauses, the brake, and the one place that moves them."""
