// A share of the traffic: the slider and the number beside it are one. The number is what is sent.
import { fresh } from "./page.js";

export function startShareSlider(root) {
  for (const form of fresh(root, "form[data-share]", "Share")) {
    const [slider, number] = [form.querySelector("input[type=range]"), form.querySelector("input[name=share]")];
    slider.addEventListener("input", () => (number.value = slider.value));
    number.addEventListener("input", () => (slider.value = number.value));
  }
}
