/** What a wall can be asked to show, and how a host writes it down. */

import { MAPS } from "./heads.js";
import { ORDERS, TWINS } from "./order.js";

export const SCALES = { shared: "Shared scale", head: "Per head (rescaled)", log: "Shared, logarithmic" };
export const SIZES = { small: "Small", medium: "Medium", large: "Large" };

/** Return a view with every choice made: those that are given and make sense, else the usual ones. */
export function completed(given, statistics) {
  const one = (value, choices, usual) => (Object.hasOwn(choices, value ?? "") ? value : usual);
  const names = Object.fromEntries(statistics.map(({ name }) => [name, true]));
  const point = given?.query;
  const isPoint = Array.isArray(point) && point.length === 2 && point.every(Number.isFinite);
  return {
    statistic: one(given?.statistic, names, statistics[0].name),
    order: one(given?.order, ORDERS, "highest"),
    grouped: given?.grouped ?? true,
    map: one(given?.map, MAPS, "whole"),
    scale: one(given?.scale, SCALES, "shared"),
    twins: one(given?.twins, TWINS, "all"),
    size: one(given?.size, SIZES, "medium"),
    filter: typeof given?.filter === "string" ? given.filter.slice(0, 60) : "",
    query: isPoint ? point : null,
    picked: Array.isArray(given?.picked) ? given.picked.filter((title) => typeof title === "string") : [],
  };
}
